/* Search of a site that is opened from a disk: browsers start no Worker there, so a hidden frame runs its script. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.window = frame.contentWindow
      this.window.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}))
      const script = frame.contentDocument.createElement("script")
      this.loaded = new Promise((resolve, reject) => { script.onload = resolve; script.onerror = reject })
      script.src = url
      frame.contentDocument.body.append(script)
    }
    postMessage(data) {
      this.loaded.then(() => this.window.dispatchEvent(new this.window.MessageEvent("message", {data})))
    }
  }
}
