(() => {
  const table = document.getElementById("table"), body = table.tBodies[0];
  let rows = [...body.rows], most = {{ most_shown }};
  const words = document.getElementById("words"), shown = document.getElementById("shown"), more = document.getElementById("more");
  const selects = ["state", "outcome", "camera"].map((name) => document.getElementById(name));
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  document.getElementById("filters").hidden = false;

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const row of rows) {
      const fits = wanted.every((word) => texts.get(row).includes(word)) && selects.every((each) => !each.value || row.dataset[each.id] === each.value);
      n += fits;
      row.hidden = !fits || n > most;
    }
    shown.textContent = `${Math.min(n, most)} of ${rows.length} rows`;
    more.hidden = n <= most;
  }

  for (const head of table.tHead.querySelectorAll("th[data-key]")) {
    head.tabIndex = 0;
    const sort = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1, key = head.dataset.key;
      table.tHead.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const value = "number" in head.dataset ? (row) => +row.dataset[key] : (row) => row.dataset[key];
      rows.sort((a, b) => { const x = value(a), y = value(b); return sign * (x < y ? -1 : x > y ? 1 : 0); });
      filter();
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  }
  words.addEventListener("input", filter);
  selects.forEach((each) => each.addEventListener("change", filter));
  more.addEventListener("click", () => { most = Infinity; filter(); });
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
