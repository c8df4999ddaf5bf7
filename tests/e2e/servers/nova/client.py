"""The little of an OpenStack client that the scripts of this folder need. Standard library only: it starts in 0.1 s."""
import http.client
import json
import pathlib
import time
import urllib.error
import urllib.request

VERSIONS = {'compute': 'compute 2.104', 'placement': 'placement 1.39'}


class Refused(Exception):
    """A service answered with an error; `status` is its HTTP status."""

    def __init__(self, method, url, status, text):
        super().__init__('%s %s: HTTP %d: %s' % (method, url, status, text[:500]))
        self.status = status


class Cloud:
    """The cloud of one run, as its administrator. Every call is one request to the service of that name."""

    def __init__(self, run):
        self.run = pathlib.Path(run).resolve()
        lines = (line.partition('=') for line in (self.run / 'env').read_text().splitlines())
        self.env = {key: value for key, _, value in lines}
        self.urls = {name: 'http://127.0.0.1:%s%s' % (self.env[port], path) for name, port, path in (
            ('identity', 'KEYSTONE_PORT', '/v3'), ('compute', 'NOVA_PORT', '/v2.1'),
            ('placement', 'PLACEMENT_PORT', ''), ('image', 'GLANCE_PORT', ''), ('network', 'NETWORK_PORT', ''))}
        # The proxy of the caller's shell does not concern us.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.token = None
        self._log_in()

    def _log_in(self):
        domain = {'id': 'default'}
        user = {'name': self.env['ADMIN_USER'], 'domain': domain, 'password': self.env['ADMIN_PASSWORD']}
        headers, _ = self._send('POST', self.urls['identity'] + '/auth/tokens', {'auth': {
            'identity': {'methods': ['password'], 'password': {'user': user}},
            'scope': {'project': {'name': 'admin', 'domain': domain}}}}, {})
        self.token = headers['X-Subject-Token']

    def __call__(self, service, method, path, body=None):
        """Sends a request with a JSON body and returns the decoded answer. Raises Refused."""
        headers = {}
        if service in VERSIONS:
            headers['OpenStack-API-Version'] = VERSIONS[service]
        return self._send(method, self.urls[service] + path, body, headers)[1]

    def list(self, service, path, key):
        return self(service, 'GET', path)[key]

    def upload(self, path, data):
        self._send('PUT', self.urls['image'] + path, data, {'Content-Type': 'application/octet-stream'})

    def _send(self, method, url, body, headers):
        headers = {'Accept': 'application/json', 'User-Agent': 'servers/nova', **headers}
        if self.token:
            headers['X-Auth-Token'] = self.token
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers['Content-Type'] = 'application/json'
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                text = answer.read()
                return answer.headers, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Refused(method, url, error.code, error.read().decode(errors='replace')) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise ConnectionError('%s %s: %s' % (method, url, error)) from None


def wait(seconds, what, condition):
    """Asks every 0.2 s until the condition returns something true, and returns that. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError('after %d s still waiting for %s' % (seconds, what))
        time.sleep(0.2)
