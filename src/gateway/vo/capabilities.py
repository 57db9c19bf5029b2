"""What a TAP service can do: VOSI 1.1 capabilities with TAPRegExt 1.0.

Everything in the document comes from what is enforced: formats from `vo.formats`, limits from the settings,
language features from the translator. Prefixes in ``xsi:type`` are literally ``tr:``, ``vs:`` and ``vr:``,
since clients compare them as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.vo.formats import FORMATS, find
from gateway.vo.formats.base import Format
from gateway.vo.markup import attributes, element
from gateway.vo.uws import duration_text

_TAPREGEXT = "ivo://ivoa.net/std/TAPRegExt"

EXAMPLES = "ivo://ivoa.net/std/DALI#examples"

UPLOAD_INLINE = f"{_TAPREGEXT}#upload-inline"
UPLOAD_HTTP = f"{_TAPREGEXT}#upload-http"
UPLOAD_HTTPS = f"{_TAPREGEXT}#upload-https"

Features = Sequence[tuple[str, Sequence[tuple[str, str | None]]]]
"""Groups of language features: IVOID of the group, then pairs (form, description)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapLimits:
    """Limits that TAP enforces."""

    maxrec_default: int
    """Rows when MAXREC is absent."""
    maxrec_hard: int
    """Most rows that MAXREC can ask for."""
    execution_duration_default: timedelta
    execution_duration_hard: timedelta
    retention_default: timedelta
    """How long a job is kept."""
    retention_hard: timedelta
    upload_max_rows: int
    """Rows of one uploaded table beyond which it is refused."""
    sync_time_limit: timedelta | None = None
    """Longest synchronous query, where it is to be told beside the limits of jobs. Only TAPRegExt 1.1, a draft, has
    the means (``forMode``); a validator that knows 1.0 calls it an error. ``None``: it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapCapabilities:
    """What the capabilities of a TAP service tell."""

    base_url: str
    """URL to which ``/sync`` is appended, as clients see it."""
    limits: TapLimits
    features: Features = ()
    data_models: Sequence[tuple[str, str]] = ()
    """Pairs (IVOID, name), for example of ObsCore."""
    upload_methods: Sequence[str] = (UPLOAD_INLINE, UPLOAD_HTTP, UPLOAD_HTTPS)
    """Ways in which tables may come with a query (TRE-7)."""


def tap_capabilities(service: TapCapabilities) -> bytes:
    """Capabilities document of a TAP service and its VOSI endpoints."""
    root = attributes(
        {
            "xmlns:vosi": "http://www.ivoa.net/xml/VOSICapabilities/v1.0",
            "xmlns:vr": "http://www.ivoa.net/xml/VOResource/v1.0",
            "xmlns:vs": "http://www.ivoa.net/xml/VODataService/v1.1",
            "xmlns:tr": "http://www.ivoa.net/xml/TAPRegExt/v1.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        }
    )
    endpoints = (("capabilities", "capabilities"), ("availability", "availability"), ("tables-1.1", "tables"))
    body = (
        _table_access(service)
        + "".join(
            _vosi(f"ivo://ivoa.net/std/VOSI#{standard}", f"{service.base_url}/{path}") for standard, path in endpoints
        )
        + _browsed(EXAMPLES, f"{service.base_url}/examples")
    )
    prologue = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{prologue}<vosi:capabilities{root}>\n{body}</vosi:capabilities>\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInterface:
    """A service that takes parameters and gives an answer, as capabilities declare it."""

    standard_id: str
    url: str
    """Where parameters are sent."""
    version: str = "1.0"
    result_type: str | None = None
    """Media type of the answer, where there is one kind."""
    use: str = "full"
    """``base`` where parameters are appended to the URL as it stands."""
    xml_type: tuple[str, str] | None = None
    """Type of the capability with its prefix, and the namespace of that; ``None``: a plain one."""
    details: str = ""
    """Elements that the type adds, as XML."""


def service_capabilities(url: str, interfaces: Iterable[ServiceInterface]) -> bytes:
    """Capabilities document of a service at a URL, and of its VOSI endpoints (VOSI 1.1, "Capabilities")."""
    root = attributes(
        {
            "xmlns:vosi": "http://www.ivoa.net/xml/VOSICapabilities/v1.0",
            "xmlns:vr": "http://www.ivoa.net/xml/VOResource/v1.0",
            "xmlns:vs": "http://www.ivoa.net/xml/VODataService/v1.1",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        }
    )
    body = "".join(map(_service, interfaces)) + "".join(
        _vosi(f"ivo://ivoa.net/std/VOSI#{name}", f"{url}/{name}") for name in ("capabilities", "availability")
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<vosi:capabilities{root}>\n{body}</vosi:capabilities>\n'.encode()


def _service(interface: ServiceInterface) -> str:
    # Neither parameters nor two query types, which the schema allows: pyvo warns of each. The answers describe them.
    kind, namespace = interface.xml_type or ("", "")
    prefix = kind.partition(":")[0]
    typed = {"xsi:type": kind, f"xmlns:{prefix}": namespace} if kind else {}
    return (
        f"<capability{attributes({'standardID': interface.standard_id, **typed})}>\n"
        f"<interface{attributes({'xsi:type': 'vs:ParamHTTP', 'role': 'std', 'version': interface.version})}>"
        + element("accessURL", interface.url, use=interface.use)
        + element("resultType", interface.result_type)
        + f"</interface>\n{interface.details}</capability>\n"
    )


def _browsed(standard_id: str, url: str) -> str:
    """Declare a page for people (TAP 1.1, "Examples")."""
    return (
        f"<capability{attributes({'standardID': standard_id})}>"
        f'<interface xsi:type="vr:WebBrowser">{element("accessURL", url, use="full")}</interface></capability>\n'
    )


def _vosi(standard_id: str, url: str) -> str:
    return (
        f"<capability{attributes({'standardID': standard_id})}>"
        f'<interface xsi:type="vs:ParamHTTP" role="std" version="1.0">{element("accessURL", url, use="full")}</interface>'
        "</capability>\n"
    )


def _table_access(service: TapCapabilities) -> str:
    limits = service.limits
    return (
        '<capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">\n'
        '<interface xsi:type="vs:ParamHTTP" role="std" version="1.1">'
        + element("accessURL", service.base_url, use="base")
        + "</interface>\n"
        + "".join(element("dataModel", name, **{"ivo-id": ivoid}) for ivoid, name in service.data_models)
        + _language(service.features)
        + "".join(output_formats(FORMATS))
        + "".join(f"<uploadMethod{attributes({'ivo-id': method})}/>\n" for method in service.upload_methods)
        + _time_limits("retentionPeriod", limits.retention_default, limits.retention_hard)
        + _time_limits("executionDuration", limits.execution_duration_default, limits.execution_duration_hard)
        + _sync_time_limit(limits.sync_time_limit)
        + _row_limits("outputLimit", limits.maxrec_default, limits.maxrec_hard)
        + (_row_limits("uploadLimit", None, limits.upload_max_rows) if service.upload_methods else "")
        + "</capability>\n"
    )


def _language(features: Features) -> str:
    versions = "".join(
        element("version", version, **{"ivo-id": f"ivo://ivoa.net/std/ADQL#v{version}"}) for version in ("2.0", "2.1")
    )
    groups = "".join(
        f"<languageFeatures{attributes({'type': group})}>\n"
        + "".join(f"<feature>{element('form', form)}{element('description', text)}</feature>\n" for form, text in forms)
        + "</languageFeatures>\n"
        for group, forms in features
        if forms and group.startswith(_TAPREGEXT)
    )
    description = element("description", "Astronomical Data Query Language, version 2.1" + _beyond(features))
    return f"<language><name>ADQL</name>{versions}{description}\n{groups}</language>\n"


def _beyond(features: Features) -> str:
    """Tell the features in groups of our own: in words, since validators warn of every group that they do not know."""
    own = [(form, text) for group, forms in features if not group.startswith(_TAPREGEXT) for form, text in forms]
    return ". Beyond it: " + "; ".join(f"{form} ({text})" if text else form for form, text in own) if own else ""


def output_formats(formats: Iterable[Format]) -> Iterator[str]:
    """One outputFormat for each Content-Type that can be had, with the names that lead to it (TRE-5)."""
    for format_ in formats:
        by_type: dict[str, list[str]] = {}
        for name in (format_.key, format_.media_type, *format_.aliases):
            content_type = find(name)[1]
            by_type.setdefault(content_type, []).extend([name] if name != content_type else [])
        for content_type, names in by_type.items():
            aliases = "".join(element("alias", name) for name in names)
            yield (
                f"<outputFormat{attributes({'ivo-id': format_.ivo_id})}>"
                f"{element('mime', content_type)}{aliases}</outputFormat>\n"
            )


def _time_limits(name: str, default: timedelta, hard: timedelta, *, mode: str | None = None) -> str:
    """Limits in seconds; those with a mode override those without (TAPRegExt 1.1, "Limits")."""
    limits = element("default", duration_text(default)) + element("hard", duration_text(hard))
    return f"<{name}{attributes({'forMode': mode})}>{limits}</{name}>\n"


def _sync_time_limit(limit: timedelta | None) -> str:
    return "" if limit is None else _time_limits("executionDuration", limit, limit, mode="sync")


def _row_limits(name: str, default: int | None, hard: int) -> str:
    limits = element("default", None if default is None else str(default), unit="row")
    return f"<{name}>{limits}{element('hard', str(hard), unit='row')}</{name}>\n"
