"""HTTP as a pull needs it: ranges, proxies, certificates, and a token that stays with its host."""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit

from .sources import Refused, Retry

AGENT = "hermeion/puller"
REDIRECTS = 8
"""More are a circle."""


class Web:
    """Asks servers on behalf of one endpoint.

    Args:
        timeout: Seconds in which not a byte may come.
    """

    def __init__(self, endpoint: str, token: str | None, ca: str | None, timeout: float) -> None:
        self._home = urlsplit(endpoint)
        self._token = token
        self._timeout = timeout
        context = ssl.create_default_context()
        if ca:
            context.load_verify_locations(ca)
        # Neither redirects nor errors are handled by the library: it would take the token along.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
        ):
            self._opener.add_handler(handler)

    def get(self, url: str, start: int) -> http.client.HTTPResponse:
        """The answer for bytes from ``start`` on, whatever its status; redirects are followed.

        Raises:
            Retry: The server cannot be reached, or says nothing.
            Refused: Its certificate is not trusted, or it redirects in circles.
        """
        for _ in range(REDIRECTS):
            answer = self._ask(url, start)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            answer.close()
            url = urljoin(url, target)
            if urlsplit(url).scheme not in ("http", "https"):
                raise Refused(f"{host(self._home.netloc)} redirects to {urlsplit(url).scheme}:, which is not followed.")
        raise Refused(f"{host(self._home.netloc)} redirects more than {REDIRECTS} times.")

    def may_have_token(self, url: str) -> bool:
        """Only the endpoint itself gets it: the same host and port, and encrypted if the endpoint is."""
        target = urlsplit(url)
        return host(target.netloc) == host(self._home.netloc) and target.scheme in (self._home.scheme, "https")

    def _ask(self, url: str, start: int) -> http.client.HTTPResponse:
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, "Accept-Encoding": "identity"})  # noqa: S310
        if start:
            request.add_header("Range", f"bytes={start}-")
        if self._token and self.may_have_token(url):
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        where = host(urlsplit(url).netloc)
        try:
            answer = self._opener.open(request, timeout=self._timeout)
        except URLError as error:
            reason = error.reason
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Refused(
                    f"{where}: its certificate is not trusted ({reason.verify_message}); pass the certificate of the "
                    "authority that signed it as hermes_mirrors.ca, and look at the host's clock."
                ) from error
            raise Retry(f"{where} cannot be reached ({_short(reason)})") from error
        except (OSError, http.client.HTTPException) as error:
            raise Retry(f"{where} did not answer ({_short(error)})") from error
        return cast("http.client.HTTPResponse", answer)


def host(netloc: str) -> str:
    """Host and port, without a name and a password before them."""
    return netloc.rpartition("@")[2].lower()


def asked_wait(headers: http.client.HTTPMessage) -> float | None:
    """Seconds of ``Retry-After``, which may be a number or a date; ``None`` if there is none that can be read."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    now = datetime.now(timezone.utc)  # noqa: UP017  # Python 3.10
    return max(0.0, (when.astimezone(timezone.utc) - now).total_seconds())  # noqa: UP017


def _short(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
