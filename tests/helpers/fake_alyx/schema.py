"""Description of the endpoints as `/api/schema` gives it: paths, methods, filters and fields, and nothing else."""

_TASK = "id parents session data_repository status name priority io_charge level gpu cpu ram time_out_secs "
_TASK += "time_elapsed_secs executable graph log version datetime arguments"
_SESSION = "subject users location procedures lab projects type task_protocol number start_time end_time narrative "
_SESSION += "parent_session n_correct_trials n_trials url extended_qc qc wateradmin_session_related "
_SESSION += "data_dataset_session_related auto_datetime id json probe_insertion field_of_view notes"
_ALL, _READ, _LIST = "get put patch delete", "get", "get post"

# path, methods, filters of its list, fields of its body
ENDPOINTS = (
    ("/api/schema", "get", "", ""),
    ("/auth-token", "post", "", ""),
    ("/check-protected", "get", "", ""),
    ("/data-formats", _LIST, "", "id json name description file_extension"),
    ("/data-formats/{name}", _ALL, "", "id json name description file_extension"),
    (
        "/data-repository",
        _LIST,
        "globus_endpoint_id globus_is_personal name",
        "name json globus_path globus_endpoint_id",
    ),
    ("/data-repository/{name}", _ALL, "", "name json globus_path globus_endpoint_id"),
    ("/dataset-types", _LIST, "", "id name created_by description filename_pattern"),
    ("/dataset-types/{name}", _ALL, "", "id name created_by description filename_pattern"),
    (
        "/datasets",
        _LIST,
        "collection django exists hash lab name revision session subject tag version",
        "name hash qc tags",
    ),
    ("/datasets/{id}", _ALL, "", "name hash qc tags"),
    ("/files", _LIST, "data_repository dataset django exists lab relative_path", "exists relative_path dataset"),
    ("/files/{id}", _ALL, "", "exists relative_path dataset"),
    ("/insertions", _LIST, "django name serial session", "id session model serial name json"),
    ("/insertions/{id}", _ALL, "", "id session model serial name json"),
    ("/labs", _LIST, "django name repositories", "name repositories json"),
    ("/labs/{name}", _ALL, "", "name repositories json"),
    ("/notes", _LIST, "django", "id user date_time content_type object_id text image json"),
    ("/notes/{id}", _ALL, "", "id user date_time content_type object_id text image json"),
    ("/register-file", "post", "", ""),
    ("/sessions", _LIST, "date_range django lab number project qc subject task_protocol type users", _SESSION),
    ("/sessions/{id}", _ALL, "", _SESSION),
    ("/subjects", _LIST, "alive django lab nickname project", "nickname lab projects json"),
    ("/subjects/{nickname}", _ALL, "", "nickname lab projects json"),
    ("/tasks", _LIST, f"{_TASK} django lab", _TASK),
    ("/tasks/{id}", _ALL, "", _TASK),
    ("/uploaded/{img_url}", "get", "", ""),
    ("/users", _LIST, "django username", "username email"),
    ("/users/{username}", _ALL, "", "username email"),
    ("/water-administrations", _LIST, "django session subject", "subject date_time water_administered session"),
    ("/water-administrations/{id}", _ALL, "", "subject date_time water_administered session"),
    ("/weighings", _LIST, "django subject", "subject date_time weight user"),
    ("/weighings/{id}", "get delete", "", "subject date_time weight user"),
)


def openapi() -> dict:
    """Return the description in the layout of OpenAPI 3, as far as ONE's client reads it."""
    paths: dict = {}
    schemas: dict = {}
    for path, methods, filters, fields in ENDPOINTS:
        name = path.strip("/").split("/")[0].title().replace("-", "")
        schemas.setdefault(name, {"type": "object", "properties": {f: {"type": "string"} for f in fields.split()}})
        body = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
        names = [*filters.split(), *(["limit", "offset"] if "{" not in path else [])]
        for method in methods.split():
            parameters = [{"in": "query", "name": f, "schema": {"type": "string"}} for f in names if method == "get"]
            operation: dict = {"operationId": f"{name}_{method}", "description": "", "parameters": parameters}
            if method in ("post", "put", "patch") and fields:
                operation["requestBody"] = body
            paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.0.3",
        "info": {"title": "fake", "version": ""},
        "paths": paths,
        "components": {"schemas": schemas},
    }
