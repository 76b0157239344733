# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The template registry that kfp's RegistryClient speaks to: compiled pipelines as packages, versions and tags.

The client's host is `http://HOST:PORT/kfp/PROJECT/REPOSITORY`. A version is the sha256 of the uploaded file.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import yaml
from starlette.responses import PlainTextResponse, Response

from emulator.core.google_rest import (
    ApiError,
    Call,
    Json,
    Route,
    bad_field,
    not_found,
    now,
    page,
    parse_json,
    project_number,
    split_multipart,
)
from emulator.core.state import State

_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


class TemplateRegistry:
    """Packages of one state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Upload and download, and packages, versions and tags as the client's default context spells them."""
        host = "/kfp/{project}/{repository}"
        package = host + "/packages/{package}"
        return [
            Route("POST", host, self.upload),
            Route("GET", host + "/packages", self.list_packages),
            Route("GET", package, self.get_package),
            Route("DELETE", package, self.delete_package),
            Route("GET", package + "/versions", self.list_versions),
            Route("GET", package + "/versions/{version!}", self.get_version),
            Route("DELETE", package + "/versions/{version!}", self.delete_version),
            Route("GET", package + "/tags", self.list_tags),
            Route("POST", package + "/tags", self.create_tag),
            Route("GET", package + "/tags/{tag}", self.get_tag),
            Route("PATCH", package + "/tags/{tag}", self.update_tag),
            Route("DELETE", package + "/tags/{tag}", self.delete_tag),
            Route("GET", host + "/{package}/{reference!}", self.download),
        ]

    def _root(self, call: Call) -> str:
        number = project_number(call.params["project"])
        return f"projects/{number}/locations/us-central1/repositories/{call.params['repository']}"

    def _package(self, call: Call) -> str:
        return f"{self._root(call)}/packages/{call.params['package']}"

    def _get(self, name: str) -> Json:
        found = self._state.get(name)
        if found is None:
            raise not_found(name)
        return found

    def upload(self, call: Call) -> Response:
        """`package/sha256:…` as plain text; the template stored under it, its tags moved to it."""
        tags: list[str] = []
        content = b""
        for headers, body in split_multipart(call.headers.get("content-type", ""), call.content):
            field = re.search(r'name="([^"]*)"', headers.get("content-disposition", ""))
            if field and field[1] == "tags":
                tags = [tag.strip() for tag in body.decode("utf-8", "replace").split(",") if tag.strip()]
            elif field and field[1] == "content":
                content = body
        for tag in tags:
            _check_tag(tag)
        package = f"{self._root(call)}/packages/{_pipeline_name(content)}"
        version = "sha256:" + hashlib.sha256(content).hexdigest()
        stamp = now()
        with self._state.transaction():
            times = {"createTime": stamp, "updateTime": stamp}
            if self._state.get(package) is None:
                self._state.put("packages", package, {"name": package, **times})
            name = f"{package}/versions/{version}"
            if self._state.get(name) is None:
                self._state.put("versions", name, {"name": name, **times, "_content": content.decode()})
            for tag in tags:
                self._point(package, tag, name)
        return PlainTextResponse(f"{package.rsplit('/', 1)[1]}/{version}")

    def download(self, call: Call) -> Response:
        """The template of a version or a tag."""
        package, reference = self._package(call), call.params["reference"]
        if not reference.startswith("sha256:"):
            reference = self._get(f"{package}/tags/{reference}")["version"].rsplit("/", 1)[1]
        found = self._get(f"{package}/versions/{reference}")
        return Response(found["_content"], media_type="application/yaml")

    def list_packages(self, call: Call) -> Json:
        """A page of packages."""
        return page(call, self._state.all("packages", self._root(call)), "packages")

    def get_package(self, call: Call) -> Json:
        """One package."""
        return self._get(self._package(call))

    def delete_package(self, call: Call) -> Json:
        """A finished operation; versions and tags go along."""
        name = self._package(call)
        self._get(name)
        with self._state.transaction():
            for kind in ("versions", "tags"):
                for _, item in self._state.all(kind, name):
                    self._state.delete(item["name"])
            self._state.delete(name)
        return {"name": f"{self._root(call)}/operations/delete", "done": True, "response": {}}

    def _show(self, package: str, version: Json) -> Json:
        tags = [tag for _, tag in self._state.all("tags", package) if tag["version"] == version["name"]]
        return {key: value for key, value in {**version, "relatedTags": tags}.items() if not key.startswith("_")}

    def list_versions(self, call: Call) -> Json:
        """A page of versions with their tags."""
        package = self._package(call)
        found = [(seq, self._show(package, item)) for seq, item in self._state.all("versions", package)]
        return page(call, found, "versions")

    def get_version(self, call: Call) -> Json:
        """One version with its tags."""
        package = self._package(call)
        return self._show(package, self._get(f"{package}/versions/{call.params['version']}"))

    def delete_version(self, call: Call) -> Json:
        """A finished operation; tags on the version go along."""
        package = self._package(call)
        version = self._get(f"{package}/versions/{call.params['version']}")
        with self._state.transaction():
            for tag in self._show(package, version)["relatedTags"]:
                self._state.delete(tag["name"])
            self._state.delete(version["name"])
        return {"name": f"{self._root(call)}/operations/delete", "done": True, "response": {}}

    def list_tags(self, call: Call) -> Json:
        """A page of tags."""
        return page(call, self._state.all("tags", self._package(call)), "tags")

    def get_tag(self, call: Call) -> Json:
        """One tag."""
        return self._get(f"{self._package(call)}/tags/{call.params['tag']}")

    def create_tag(self, call: Call) -> Json:
        """A new tag; 409 when it exists."""
        tag = call.first("tagId")
        _check_tag(tag)
        package = self._package(call)
        with self._state.transaction():
            if self._state.get(f"{package}/tags/{tag}"):
                raise ApiError(409, f"The tag {tag} exists.")
            return self._point(package, tag, self._wanted(call, package))

    def update_tag(self, call: Call) -> Json:
        """The tag on another version."""
        package = self._package(call)
        self._get(f"{package}/tags/{call.params['tag']}")
        return self._point(package, call.params["tag"], self._wanted(call, package))

    def delete_tag(self, call: Call) -> Json:
        """Nothing."""
        name = self._get(f"{self._package(call)}/tags/{call.params['tag']}")["name"]
        self._state.delete(name)
        return {}

    def _wanted(self, call: Call, package: str) -> str:
        body: Any = parse_json(call.content)
        version = str(body.get("version", "")) if isinstance(body, dict) else ""
        name = f"{package}/versions/{version.rsplit('/', 1)[-1]}"
        self._get(name)
        return name

    def _point(self, package: str, tag: str, version: str) -> Json:
        name = f"{package}/tags/{tag}"
        return self._state.put("tags", name, {"name": name, "version": version})


def _check_tag(tag: str) -> None:
    if not _TAG.fullmatch(tag):
        raise bad_field(("tag_id", f"'{tag[:140]}' is not a valid tag."))


def _pipeline_name(content: bytes) -> str:
    try:
        documents = list(yaml.safe_load_all(content))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ApiError(400, f"The template is not valid YAML: {str(error)[:300]}") from error
    spec = documents[0] if documents and isinstance(documents[0], dict) else {}
    if "pipelineSpec" in spec and isinstance(spec["pipelineSpec"], dict):
        spec = spec["pipelineSpec"]
    info = spec.get("pipelineInfo")
    name = info.get("name") if isinstance(info, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", name):
        raise ApiError(400, "The template has no valid pipelineInfo.name.")
    return name
