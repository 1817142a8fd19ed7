"""A FHIR server over real HTTP/2 (TLS, loopback) that writes what it is sent and then breaks the protocol, as told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hyperframe.frame import GoAwayFrame

from tests.ehrs import Ehr

_BREAKS_AT = 2
Break = Callable[["Http2Conversation", int], None]


class Http2Ehr:
    """Keeps every Observation it was sent. `break_with` is what it does instead of answering the second write.

    `leave_with` is what it does after every answer.
    """

    def __init__(self) -> None:
        self.observations: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.break_with: Break | None = None
        self.leave_with: Break | None = None
        self.connections: list[Http2Conversation] = []
        self.origin = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {urlsplit(path).path}")
        if method == "POST":
            kept = json.loads(body) | {"id": f"o{len(self.observations) + 1}", "meta": {"versionId": "1"}}
            self.observations.append(kept)
            return 201, kept
        entries = [{"resource": resource} for resource in self.observations]
        return 200, {"resourceType": "Bundle", "type": "searchset", "entry": entries}


class Http2Conversation(asyncio.Protocol):
    """One connection, frame by frame."""

    def __init__(self, ehr: Http2Ehr) -> None:
        self.ehr = ehr
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._asked: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ehr.connections.append(self)
        self.h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                self._asked[event.stream_id] = (headers, bytearray())
            elif isinstance(event, h2.events.DataReceived):
                self._asked[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._answer(event.stream_id)
        self._flush()
        if self.ehr.leave_with and self.answered:
            self.ehr.leave_with(self, self.answered)

    def _answer(self, stream: int) -> None:
        headers, body = self._asked.pop(stream)
        status, said = self.ehr.answer(headers[":method"], headers[":path"], bytes(body))
        if self.ehr.break_with and headers[":method"] == "POST" and len(self.ehr.observations) == _BREAKS_AT:
            self.ehr.break_with(self, stream)
            return
        self.reply(stream, str(status), json.dumps(said).encode())

    def reply(self, stream: int, status: str, body: bytes) -> None:
        fields = [(":status", status), ("content-type", "application/fhir+json")]
        if status == "201":
            fields.append(("location", f"Observation/{json.loads(body)['id']}"))
        self.h2.send_headers(stream, fields)
        self.h2.send_data(stream, body, end_stream=True)
        self.answered = stream

    def _flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())


def data_on_no_stream(conversation: Http2Conversation, _stream: int) -> None:
    """A frame that RFC 9113 §6.1 forbids: the client itself ends the connection while it reads the answer."""
    conversation.transport.write(b"\x00\x00\x01" + b"\x00" * 6 + b"x")


def says_it_took_nothing(conversation: Http2Conversation, _stream: int) -> None:
    """GOAWAY that names an earlier stream as the last one taken, though this one was: a client may send again by itself."""
    conversation.transport.write(GoAwayFrame(0, last_stream_id=1).serialize())


def says_that_it_leaves(conversation: Http2Conversation, stream: int) -> None:
    """GOAWAY that names the last stream it took, as it is meant to be; what comes after it is not taken."""
    conversation.transport.write(GoAwayFrame(0, last_stream_id=stream).serialize())
    conversation.data_received = lambda _: None  # type: ignore[method-assign]


def leaves(conversation: Http2Conversation, stream: int) -> None:
    """The same, and the connection closes."""
    says_that_it_leaves(conversation, stream)
    conversation.transport.close()


def refuses_the_stream(conversation: Http2Conversation, stream: int) -> None:
    """RST_STREAM with REFUSED_STREAM, though the request was taken."""
    conversation.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)


def hangs_up(conversation: Http2Conversation, _stream: int) -> None:
    """The connection closes."""
    conversation.transport.close()


def answers_no_status_there_is(conversation: Http2Conversation, stream: int) -> None:
    """A status of eleven digits, which no database column takes."""
    conversation.h2.config.validate_outbound_headers = False
    conversation.h2.send_headers(stream, [(":status", "20100000001")], end_stream=True)


@asynccontextmanager
async def http2_ehr(folder: Path) -> AsyncIterator[Http2Ehr]:
    """Serve on loopback. `folder/ca.pem` is what a client must trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    context.set_alpn_protocols(["h2"])
    ehr = Http2Ehr()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http2Conversation(ehr), "127.0.0.1", 0, ssl=context)
    ehr.origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield ehr
    finally:
        server.close()


def ehr_at(server: Http2Ehr) -> Ehr:
    """The server as an EHR under test, one connection at a time."""

    def observations(patient: str) -> list[dict[str, Any]]:
        return [o for o in server.observations if o["subject"]["reference"] == f"Patient/{patient}"]

    section = {"kind": "fhir", "base_url": f"{server.origin}/fhir", "capabilities": {"concurrency": 1}}
    return Ehr("http2", section, lambda _: None, observations)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    whole = folder / "server.pem"
    public = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(public)
    whole.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + public
    )
    return whole
