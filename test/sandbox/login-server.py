"""An HTTPS server with NTLM and Basic that shares no line with the gateway: GSS-NTLMSSP checks NTLMv2 (python3-gssapi),
Werkzeug reads Basic. NTLM is bound to its connection. Prints the port, then a line of JSON for each login and request.

Arguments: certificate and key (PEM), and `none`, or `right` or `wrong` for channel bindings that are demanded: those of
this certificate, or those of another one. NTLM_USER_FILE names the accounts, DOMAIN:user:password a line.
"""
import base64
import hashlib
import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gssapi
from gssapi.raw import ChannelBindings
from werkzeug.http import parse_authorization_header

NTLM = gssapi.OID.from_int_seq('1.3.6.1.4.1.311.2.2.10')
certificate, key, demanded = sys.argv[1:4]
with open(os.environ['NTLM_USER_FILE'], encoding='utf-8') as file:
    accounts = [line.rstrip('\n').split(':', 2) for line in file]


def bindings():
    if demanded == 'none':
        return None
    with open(certificate, encoding='ascii') as pem:
        der = ssl.PEM_cert_to_DER_cert(pem.read().split('-----END CERTIFICATE-----')[0] + '-----END CERTIFICATE-----\n')
    digest = hashlib.sha256(der if demanded == 'right' else b'another').digest()
    return ChannelBindings(application_data=b'tls-server-end-point:' + digest)


lock = threading.Lock()


def say(**facts):
    with lock:
        print(json.dumps(facts), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    context = None
    user = None

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, *words):
        pass

    def answer(self, status, headers=(), text=b''):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self):
        self.context = None
        self.answer(401, [('WWW-Authenticate', 'NTLM'), ('WWW-Authenticate', 'Basic realm="test"')])

    def basic(self, field):
        given = parse_authorization_header(field)
        for domain, name, password in accounts:
            if given is not None and given.username == f'{domain}\\{name}' and given.password == password:
                return given.username
        return None

    def ntlm(self, token):
        """The next message, or None when it has come to an end."""
        if self.context is None:
            credentials = gssapi.Credentials(usage='accept', mechs=[NTLM])
            self.context = gssapi.SecurityContext(creds=credentials, usage='accept', channel_bindings=bindings())
        answer = self.context.step(base64.b64decode(token))
        if self.context.complete:
            self.user = str(self.context.initiator_name)
        return answer

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', '0')))
        field = self.headers.get('Authorization', '')
        scheme, _, token = field.partition(' ')
        user = self.user
        if scheme == 'NTLM':
            self.user = None
            try:
                message = self.ntlm(token)
            except gssapi.exceptions.GSSError as error:
                say(login='refused', why=str(error)[:200], octets=len(body))
                return self.refuse()
            if self.user is None:
                return self.answer(401, [('WWW-Authenticate', 'NTLM ' + base64.b64encode(message).decode())])
            say(login='accepted', user=self.user, connection=self.client_address[1], octets=len(body))
            user = self.user
        elif scheme == 'Basic':
            user = self.basic(field)
            say(login='refused' if user is None else 'accepted', user=user, octets=len(body))
        if user is None:
            return self.refuse()
        say(request=self.command, user=user, connection=self.client_address[1], octets=len(body))
        return self.answer(200, [('Content-Type', 'text/xml')], hashlib.sha256(body).hexdigest().encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = Server(('127.0.0.1', 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
say(port=server.server_address[1])
server.serve_forever()
