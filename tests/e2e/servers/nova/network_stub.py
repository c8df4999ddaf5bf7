"""The least that Nova asks of a network service when no server has a network: every list is empty.

    network_stub.py PORT

Nova asks for extensions, ports, networks, subnets, floating IPs and security groups while it boots, migrates and
deletes. This answers GET /v2.0/<collection> with {"<collection>": []}; it is not Neutron, and a server with a port needs one.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EmptyLists(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        collection = self.path.partition('?')[0].rstrip('/').rpartition('/')[2].removesuffix('.json')
        if collection:
            answer = {collection.replace('-', '_'): []}
        else:
            answer = {'versions': [{'id': 'v2.0', 'status': 'CURRENT', 'links': []}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: Nova asks often, and the log would grow for ever."""


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), EmptyLists).serve_forever()
