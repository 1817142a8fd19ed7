"""Access tokens: what an assertion says, who fetches one and when, and where a token never goes."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from adapters.ehr.smart import authentication
from adapters.ehr.smart.token import TokenRefusedError, TokenUnavailableError
from schemas.config import BasicAuth, ClientSecretAuth, NoAuth, PrivateKeyAuth
from schemas.errors import Misconfigured

BASE = "https://ehr.example/r4"
TOKEN_URL = "https://login.example/token"
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-384")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeEhr:
    """Gives out numbered tokens and answers data requests as told; keeps every request."""

    def __init__(self, life_s: object = 300) -> None:
        self.tokens: list[httpx.Request] = []
        self.requests: list[httpx.Request] = []
        self.refuse: Callable[[str], bool] = lambda authorization: False
        self.token_answer: Callable[[], httpx.Response] | None = None
        self.life_s = life_s

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        if str(request.url) == TOKEN_URL:
            self.tokens.append(request)
            if self.token_answer is not None:
                return self.token_answer()
            body = {"access_token": f"t{len(self.tokens)}", "token_type": "Bearer", "expires_in": self.life_s}
            return httpx.Response(200, json=body)
        authorization = request.headers.get("authorization", "")
        self.requests.append(request)
        return httpx.Response(401 if self.refuse(authorization) else 200)

    @property
    def used(self) -> list[str]:
        return [request.headers.get("authorization", "") for request in self.requests]


def assertion_auth(algorithm: str = "RS384", **more: str) -> PrivateKeyAuth:
    return PrivateKeyAuth(
        kind="private_key_jwt",
        token_url=TOKEN_URL,
        client_id="client-1",
        private_key={"file": "key"},
        key_id="kid-1",
        algorithm=algorithm,
        **more,
    )


def client(ehr: FakeEhr, clock: Clock, auth: object = None, pem: bytes | None = None) -> httpx.AsyncClient:
    jti = iter(f"jti-{n}" for n in range(1000))
    secret = (pem or RSA.as_pem(private=True)).decode()
    access = authentication(auth or assertion_auth(), BASE, lambda _: secret, clock, new_jti=lambda: next(jti))
    return httpx.AsyncClient(auth=access, transport=httpx.MockTransport(ehr))


@pytest.mark.parametrize(("algorithm", "key"), [("RS384", RSA), ("ES384", EC)])
async def test_the_assertion_says_who_for_whom_once_and_not_for_long(algorithm: str, key: RSAKey | ECKey) -> None:
    ehr, clock = FakeEhr(), Clock()
    auth = assertion_auth(algorithm, jku="https://us.example/jwks", scope="system/Observation.c")
    async with client(ehr, clock, auth, key.as_pem(private=True)) as http:
        await http.get(f"{BASE}/Patient")
    form = parse_qs(ehr.tokens[0].content.decode())
    token = jwt.decode(form["client_assertion"][0], key, algorithms=[algorithm])
    assert token.header == {"alg": algorithm, "typ": "JWT", "kid": "kid-1", "jku": "https://us.example/jwks"}
    assert token.claims["iss"] == token.claims["sub"] == "client-1"
    assert token.claims["aud"] == TOKEN_URL
    assert 0 < token.claims["exp"] - clock.now.timestamp() <= 300
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert form["scope"] == ["system/Observation.c"]


async def test_every_assertion_has_an_id_of_its_own() -> None:
    ehr, clock = FakeEhr(life_s=60), Clock()
    async with client(ehr, clock) as http:
        for _ in range(3):
            await http.get(f"{BASE}/Patient")
            clock.pass_s(61)
    assertions = [parse_qs(request.content.decode())["client_assertion"][0] for request in ehr.tokens]
    ids = {jwt.decode(a, RSA, algorithms=["RS384"]).claims["jti"] for a in assertions}
    assert len(ids) == 3


async def test_many_requests_at_once_fetch_one_token() -> None:
    ehr, clock = FakeEhr(), Clock()
    async with client(ehr, clock) as http:
        await asyncio.gather(*(http.get(f"{BASE}/Patient") for _ in range(20)))
    assert len(ehr.tokens) == 1
    assert set(ehr.used) == {"Bearer t1"}


async def test_a_token_is_refreshed_before_it_expires_and_not_within_a_minute() -> None:
    ehr, clock = FakeEhr(life_s=570), Clock()
    async with client(ehr, clock) as http:
        for passed_s in (0, 300, 205, 10, 45):
            clock.pass_s(passed_s)
            await http.get(f"{BASE}/Patient")
    assert ehr.used == ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


async def test_a_short_lived_token_is_used_till_it_expires() -> None:
    ehr, clock = FakeEhr(life_s=40), Clock()
    async with client(ehr, clock) as http:
        for passed_s in (0, 30, 6):
            clock.pass_s(passed_s)
            await http.get(f"{BASE}/Patient")
    assert ehr.used == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_a_refused_token_is_replaced_once_and_the_request_sent_again() -> None:
    ehr, clock = FakeEhr(), Clock()
    ehr.refuse = lambda authorization: authorization == "Bearer t1"
    async with client(ehr, clock) as http:
        answers = await asyncio.gather(*(http.get(f"{BASE}/Patient") for _ in range(5)))
    assert [a.status_code for a in answers] == [200] * 5
    assert len(ehr.tokens) == 2


async def test_an_ehr_that_refuses_every_token_is_not_stormed() -> None:
    ehr, clock = FakeEhr(), Clock()
    ehr.refuse = lambda authorization: True
    async with client(ehr, clock) as http:
        answers = [await http.get(f"{BASE}/Patient") for _ in range(5)]
    assert [a.status_code for a in answers] == [401] * 5
    assert len(ehr.tokens) == 2


async def test_a_token_goes_to_its_own_endpoint_only() -> None:
    ehr, clock = FakeEhr(), Clock()
    async with client(ehr, clock) as http:
        await http.get(f"{BASE}/Patient")
        for other in ("https://elsewhere.example/r4/Patient", "http://ehr.example/r4", "https://ehr.example:8443/r4"):
            await http.get(other)
    assert ehr.used == ["Bearer t1", "", "", ""]


async def test_basic_credentials_go_to_their_own_endpoint_only() -> None:
    ehr, clock = FakeEhr(), Clock()
    auth = BasicAuth(kind="basic", username="u", password={"env": "P"})
    async with client(ehr, clock, auth) as http:
        await http.get(f"{BASE}/Patient")
        await http.get("https://elsewhere.example/")
    assert ehr.used[0].startswith("Basic ")
    assert ehr.used[1] == ""


async def test_a_client_secret_is_sent_by_basic_with_the_scope() -> None:
    ehr, clock = FakeEhr(), Clock()
    auth = ClientSecretAuth(
        kind="client_secret_basic", token_url=TOKEN_URL, client_id="c", client_secret={"env": "S"}, scope="a b"
    )
    async with client(ehr, clock, auth, b"secret") as http:
        await http.get(f"{BASE}/Patient")
    assert ehr.tokens[0].headers["authorization"] == "Basic " + base64.b64encode(b"c:secret").decode()
    assert parse_qs(ehr.tokens[0].content.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}


def test_no_authentication_is_none() -> None:
    assert authentication(NoAuth(), BASE, lambda _: "", Clock()) is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (httpx.Response(400, json={"error": "unauthorized_client"}), "unauthorized_client"),
        (httpx.Response(400, json={"error": "Jane Doe is unknown"}), "no_token"),
        (httpx.Response(401, json={"error": "invalid_client"}), "invalid_client"),
        (httpx.Response(403, json={"message": "no"}), "no_token"),
        (httpx.Response(403), "no_token"),
    ],
)
async def test_a_client_refused_by_the_token_endpoint_is_reported_by_its_error_code_only(
    given: httpx.Response, code: str
) -> None:
    ehr, clock = FakeEhr(), Clock()
    ehr.token_answer = lambda: given
    async with client(ehr, clock) as http:
        with pytest.raises(TokenRefusedError) as refused:
            await http.get(f"{BASE}/Patient")
    assert refused.value.code == code
    assert ehr.requests == []


@pytest.mark.parametrize(
    "given",
    [
        httpx.Response(500),
        httpx.Response(503, headers={"retry-after": "30"}, content=b"<html>"),
        httpx.Response(502, json={"error": "invalid_client"}),
        httpx.Response(429, json={"error": "slow_down"}),
        httpx.Response(400, json={"error": "temporarily_unavailable"}),
        httpx.Response(401, content=b"<html>"),
        httpx.Response(404, json={}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, json={"access_token": ""}),
        httpx.Response(200, json={"access_token": "a\nb"}),
        httpx.Response(200, json={"access_token": "a", "token_type": "mac"}),
        httpx.Response(302, headers={"location": "https://elsewhere.example/token"}),
    ],
)
async def test_a_token_endpoint_that_neither_grants_nor_refuses_is_away(given: httpx.Response) -> None:
    ehr, clock = FakeEhr(), Clock()
    ehr.token_answer = lambda: given
    async with client(ehr, clock) as http:
        with pytest.raises(TokenUnavailableError) as away:
            await http.get(f"{BASE}/Patient")
    assert (away.value.status, away.value.retry_after) == (given.status_code, given.headers.get("retry-after"))
    assert ehr.requests == []


@pytest.mark.parametrize("life_s", [None, "soon", -1, 0])
async def test_an_unclear_life_is_taken_as_five_minutes(life_s: object) -> None:
    ehr, clock = FakeEhr(life_s=life_s), Clock()
    async with client(ehr, clock) as http:
        for passed_s in (0, 200, 120):
            clock.pass_s(passed_s)
            await http.get(f"{BASE}/Patient")
    assert ehr.used == ["Bearer t1", "Bearer t1", "Bearer t2"]


@pytest.mark.parametrize("pem", [b"no key", EC.as_pem(private=True), RSA.as_pem(private=False)])
def test_a_wrong_key_is_found_at_start_and_not_shown(pem: bytes) -> None:
    with pytest.raises(Misconfigured) as wrong:
        authentication(assertion_auth(), BASE, lambda _: pem.decode(), Clock())
    assert "client-1" in str(wrong.value)
    assert pem.decode()[:20] not in str(wrong.value)


def test_a_token_shows_nowhere_in_words() -> None:
    access = authentication(assertion_auth(), BASE, lambda _: RSA.as_pem(private=True).decode(), Clock())
    flow = access.async_auth_flow(httpx.Request("GET", f"{BASE}/Patient"))

    async def fetch() -> None:
        await anext(flow)
        body = orjson.dumps({"access_token": "canary-token", "expires_in": 300})
        await flow.asend(httpx.Response(200, content=body))
        await flow.aclose()

    asyncio.run(fetch())
    assert "canary-token" not in repr(access) + repr(vars(access))
