# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The template registry for kfp's RegistryClient: compiled pipelines as packages, versions and tags.

The client's host is `http://HOST:PORT/kfp/PROJECT/REPOSITORY`. A version is the sha256 of the uploaded file.
"""

import hashlib
import re

import yaml
from starlette.responses import PlainTextResponse, Response

from emulator.core.google_rest import ApiError, Call, Json, now, project_number, split_multipart
from emulator.core.state import State
from emulator.services.collection import Collection

_TAG = r"[a-z0-9][a-z0-9._-]{0,127}"


class _Packages(Collection):
    kind, title, parameter = "packages", "Package", "package"

    def parent(self, call: Call) -> str:
        number = project_number(call.params["project"])
        return f"projects/{number}/locations/us-central1/repositories/{call.params['repository']}"

    def delete(self, call: Call) -> Json:
        name = self.requested(call)["name"]
        with self._state.transaction():
            for kind in ("versions", "tags"):
                for _, item in self._state.all(kind, name):
                    self._state.delete(item["name"])
            self._state.delete(name)
        return _deleted(self.parent(call))


class _Versions(Collection):
    kind, title, parameter = "versions", "Version", "version"

    def view(self, resource: Json) -> Json:
        tags = [tag for _, tag in self._state.all("tags", resource["name"].split("/versions/")[0])]
        return {**resource, "relatedTags": [tag for tag in tags if tag["version"] == resource["name"]]}

    def delete(self, call: Call) -> Json:
        version = self.view(self.requested(call))
        with self._state.transaction():
            for tag in version["relatedTags"]:
                self._state.delete(tag["name"])
            self._state.delete(version["name"])
        return _deleted(version["name"].split("/packages/")[0])


class _Tags(Collection):
    kind, title, parameter = "tags", "Tag", "tag"

    def __init__(self, state: State, packages: _Packages, versions: _Versions) -> None:
        super().__init__(state, packages)
        self._versions = versions

    def create(self, call: Call) -> Json:
        name = f"{self.parent(call)}/tags/{call.id('tagId', _TAG, required=True)}"
        with self._state.transaction():
            if self._state.get(name) is not None:
                raise ApiError(409, f"The tag {name} already exists.")
            return self._state.put("tags", name, {"name": name, **self._version(call)})  # a tag has no times

    def update(self, call: Call) -> Json:
        return self._state.update(self.requested(call)["name"], **self._version(call))

    def delete(self, call: Call) -> Json:
        self._state.delete(self.requested(call)["name"])
        return {}

    def _version(self, call: Call) -> Json:
        """The field of a tag with the version that the body names."""
        reference = str(call.body.get("version", "")).rsplit("/", 1)[-1]
        return {"version": self._versions.find(f"{self.parent(call)}/versions/{reference}")["name"]}


class TemplateRegistry:
    """All packages, with versions and tags."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.packages = _Packages(state)
        self.versions = _Versions(state, self.packages)
        self.tags = _Tags(state, self.packages, self.versions)

    def upload(self, call: Call) -> Response:
        """`package/sha256:…` as plain text; the template is stored under it and its tags are moved to it."""
        tags: list[str] = []
        content = b""
        for headers, body in split_multipart(call.headers.get("content-type", ""), call.content):
            field = re.search(r'name="([^"]*)"', headers.get("content-disposition", ""))
            if field and field[1] == "tags":
                tags = [tag.strip() for tag in body.decode("utf-8", "replace").split(",") if tag.strip()]
            elif field and field[1] == "content":
                content = body
        if wrong := [tag for tag in tags if not re.fullmatch(_TAG, tag)]:
            raise ApiError(400, f"tag_id: '{wrong[0][:140]}' is not a valid tag.")
        package = f"{self.packages.parent(call)}/packages/{_pipeline_name(content)}"
        version = f"{package}/versions/sha256:{hashlib.sha256(content).hexdigest()}"
        stamp = now()
        with self._state.transaction():
            times = {"createTime": stamp, "updateTime": stamp}
            if self._state.get(package) is None:
                self._state.put("packages", package, {"name": package, **times})
            if self._state.get(version) is None:
                self._state.put("versions", version, {"name": version, **times, "_content": content.decode()})
            for tag in tags:
                self._state.put("tags", f"{package}/tags/{tag}", {"name": f"{package}/tags/{tag}", "version": version})
        return PlainTextResponse(f"{package.rsplit('/', 1)[1]}/{version.rsplit('/', 1)[1]}")

    def download(self, call: Call) -> Response:
        """The template of a version or a tag."""
        version = self._find(self.packages.name(call), call.params["reference"])
        return Response(version["_content"], media_type="application/yaml")

    def template(self, uri: str) -> tuple[str, Json]:
        """Version and specification of a template by its URI in this registry; 400 for another URI."""
        match = re.fullmatch(r"https?://[^/]+/kfp/([^/]+)/([^/]+)/([^/]+)/([^/]+)", uri)
        if match is None:
            raise ApiError(400, f"pipeline_job.template_uri: '{uri[:200]}' is not in a registry that is known here.")
        project, repository, package, reference = match.groups()
        parent = f"projects/{project_number(project)}/locations/us-central1/repositories/{repository}"
        version = self._find(f"{parent}/packages/{package}", reference)
        content: Json = next(yaml.safe_load_all(version["_content"]))
        return version["name"].rsplit("/", 1)[1], content

    def _find(self, package: str, reference: str) -> Json:
        name = f"{package}/versions/{reference}"
        if not reference.startswith("sha256:"):
            name = self.tags.find(f"{package}/tags/{reference}")["version"]
        return self.versions.find(name)


def _deleted(repository: str) -> Json:
    return {"name": f"{repository}/operations/delete", "done": True, "response": {}}


def _pipeline_name(content: bytes) -> str:
    try:
        document = next(yaml.safe_load_all(content.decode()))
        name = str(document.get("pipelineSpec", document)["pipelineInfo"]["name"])
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ApiError(400, f"The template is not valid YAML: {str(error)[:300]}") from error
    except (LookupError, TypeError, AttributeError, StopIteration):
        name = ""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", name):
        raise ApiError(400, "The template has no valid pipelineInfo.name.")
    return name
