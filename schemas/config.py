"""The configuration file `vitalwire.yaml` as a model. `vitalwire check` reports every mistake in one, with its line."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from schemas.capabilities import Capabilities
from schemas.endpoint_kinds import DEFAULTS, EndpointKind
from schemas.reference import Consent
from schemas.topics import DAY_MS, WINDOWS_KEPT_MS
from schemas.vitals import BUILT_IN, PANELS, VitalType

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: object) -> object:
    """'60s', '15m', '7d' → milliseconds. A bare number is refused, because it has no unit."""
    if not isinstance(text, str):
        raise ValueError("write a duration with its unit, e.g. 60s, 15m, 7d")  # noqa: TRY004 (pydantic wants ValueError)
    match = _DURATION.match(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a duration; write e.g. 500ms, 60s, 15m, 24h, 7d")
    return round(float(match[1]) * _UNIT_MS[match[2]])


Milliseconds = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Section):
    """Where to read a secret from: a file or an environment variable. Never the secret itself."""

    file: str | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("name either `file` or `env`")
        return self


class NoAuth(_Section):
    """No authentication (a FHIR server on a closed network)."""

    kind: Literal["none"] = "none"


class BasicAuth(_Section):
    """HTTP Basic on every request."""

    kind: Literal["basic"]
    username: str
    password: Secret


class ClientSecretAuth(_Section):
    """OAuth2 client_credentials with client id and secret by HTTP Basic at the token endpoint (Oracle Health)."""

    kind: Literal["client_secret_basic"]
    token_url: str
    client_id: str
    client_secret: Secret
    scope: str


class PrivateKeyAuth(_Section):
    """SMART Backend Services: OAuth2 client_credentials with a signed assertion (Epic; any SMART server)."""

    kind: Literal["private_key_jwt"]
    token_url: str
    client_id: str
    private_key: Secret = Field(description="PEM")
    key_id: str
    algorithm: Literal["RS384", "ES384"] = "RS384"
    scope: str | None = None
    jku: str | None = None


Auth = Annotated[NoAuth | BasicAuth | ClientSecretAuth | PrivateKeyAuth, Field(discriminator="kind")]


class Endpoint(_Section):
    """One EHR that results are written to."""

    kind: EndpointKind
    base_url: str
    auth: Auth = NoAuth()
    capabilities: dict[str, Any] = Field(
        default_factory=dict,
        description="what differs from the kind's defaults: of the endpoint, and by resource type; flat keys mean Observation",
    )
    template: str | None = Field(None, description="file of the site's own Observation template")

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://", "mllp://", "mllps://")):
            raise ValueError("must begin with https:// (or http:// on loopback)")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _known_capabilities(self) -> Endpoint:
        _ = self.matrix
        return self

    @property
    def matrix(self) -> Capabilities:
        """The kind's capabilities with this site's differences."""
        return DEFAULTS[self.kind].overridden(self.capabilities)


class Tenant(_Section):
    """A hospital or site: results of its patients go to these endpoints."""

    endpoints: list[str] = Field(min_length=1)


class Publish(_Section):
    """Which windows are published to the chart. By default, every window is."""

    every: Milliseconds | None = Field(None, description="at most one scheduled window in each span of this length")
    outside: tuple[float, float] | None = Field(
        None, description="publish when the statistic leaves or re-enters [low, high]"
    )
    change: float | None = Field(None, gt=0, description="publish when it differs this much from the last published")

    @model_validator(mode="after")
    def _ordered(self) -> Publish:
        if self.outside is not None and self.outside[0] > self.outside[1]:
            raise ValueError("`outside` is [low, high]: low must not exceed high")
        return self


class Vital(_Section):
    """How one vital is windowed and published. Values are in the vital's canonical unit."""

    window: Milliseconds = 60_000
    grace: Milliseconds = 10_000
    idle: Milliseconds = 30_000
    statistic: Literal["mean", "median", "min", "max", "first", "last"] = "median"
    range: tuple[float, float]
    publish: Publish = Publish()
    definition: VitalType | None = Field(None, description="required for a type that is not built in")

    @model_validator(mode="after")
    def _valid(self) -> Vital:
        if self.window < 1000 or 86_400_000 % self.window:
            raise ValueError("`window` must be at least 1s and divide a day evenly, so that windows align to the epoch")
        if self.publish.every is not None and self.publish.every % self.window:
            raise ValueError("`publish.every` must be a multiple of `window`")
        if self.range[0] >= self.range[1]:
            raise ValueError("`range` is [low, high]: low must be below high")
        return self


def _default_vitals() -> dict[str, Vital]:
    return {name: Vital(range=kind.range) for name, kind in BUILT_IN.items()}


class Telemetry(_Section):
    """Limits and intervals of the telemetry role."""

    clock_ahead: Milliseconds = Field(5_000, description="how far a device clock may be ahead of the broker")
    max_age: Milliseconds = Field(7 * 86_400_000, description="older readings are quarantined as too_old")
    max_open: Milliseconds = Field(
        300_000, description="how long, by arrival time, a window may stay open beyond its length, grace and idle time"
    )
    max_record_bytes: int = Field(
        8 << 20,
        ge=1 << 20,
        le=64 << 20,
        description="a larger Kafka record is quarantined as oversized, and not parsed",
    )
    max_batch_bytes: int = Field(
        32 << 20,
        ge=1 << 20,
        le=256 << 20,
        description="a record batch that decompresses to more is quarantined, still compressed",
    )
    close_every: Milliseconds = Field(250, description="how often open windows are checked for closing")
    stall_after: Milliseconds = Field(120_000, description="a worker that makes no progress for so long exits")

    @model_validator(mode="after")
    def _record_in_batch(self) -> Telemetry:
        if self.max_batch_bytes < self.max_record_bytes:
            raise ValueError(
                "`max_batch_bytes` must not be below `max_record_bytes`, because a batch contains whole records"
            )
        return self


class LedgerKeeping(_Section):
    """How long the ledger retains terminal operations."""

    keep_evidence: Milliseconds = Field(90 * DAY_MS, description="requests and responses of each attempt")
    keep_operations: Milliseconds = Field(400 * DAY_MS, description="charted, failed and quarantined operations")

    @model_validator(mode="after")
    def _longer_than_a_replay(self) -> LedgerKeeping:
        if self.keep_operations <= WINDOWS_KEPT_MS:
            raise ValueError(
                f"`keep_operations` must exceed {WINDOWS_KEPT_MS // DAY_MS}d, the retention of windows on Kafka:"
                " a replay would chart an expired operation again"
            )
        if self.keep_evidence > self.keep_operations:
            raise ValueError("`keep_evidence` must not exceed `keep_operations`")
        return self


class Config(_Section):
    """The whole configuration."""

    tenants: dict[str, Tenant] = {}
    endpoints: dict[str, Endpoint] = {}
    vitals: dict[str, Vital] = Field(default_factory=_default_vitals, validate_default=True)
    telemetry: Telemetry = Telemetry()
    ledger: LedgerKeeping = LedgerKeeping()

    @field_validator("vitals", mode="before")
    @classmethod
    def _with_built_in(cls, given: object) -> object:
        """Built-in vitals are always configured; the file overrides their defaults."""
        if not isinstance(given, dict):
            return given
        merged: dict[str, object] = dict(_default_vitals())
        for name, vital in given.items():
            known = BUILT_IN.get(name)
            merged[name] = {"range": known.range} | vital if known and isinstance(vital, dict) else vital
        return merged

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        for tenant, wanted in self.tenants.items():
            for name in wanted.endpoints:
                if name not in self.endpoints:
                    raise ValueError(f"tenant '{tenant}' names endpoint '{name}', which is not under `endpoints:`")
        for name, vital in self.vitals.items():
            if name not in BUILT_IN and vital.definition is None:
                raise ValueError(f"vital '{name}' is not built in; give it a `definition:`")
        for panel, members in PANELS.items():
            pace = {(v.window, v.grace, v.idle, v.publish.every) for m in members if (v := self.vitals.get(m))}
            if len(pace) > 1:
                raise ValueError(
                    f"{' and '.join(members)} form {panel}: give them the same window, grace, idle and every"
                )
        return self

    def understood(self, consent: Consent) -> Consent:
        """The consent, in which a denial of a vital or endpoint that is not configured denies all of them."""
        return consent.with_denials_understood({*self.vitals, *PANELS}, self.endpoints)

    def vital_type(self, name: str) -> VitalType:
        """The clinical definition of a configured vital."""
        return self.vitals[name].definition or BUILT_IN[name]
