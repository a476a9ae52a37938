"""Takes messages of the gateway (pickup, webhook, form: raw), once each, if they are signed. python3 receiver.py FOLDER PORT"""
import base64, hashlib, hmac, http.server, os, sys, time

FOLDER, KEY = sys.argv[1], base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        id, moment = self.headers["Webhook-Id"] or "", self.headers["Webhook-Timestamp"] or ""
        mac = hmac.new(KEY, f"{id}.{moment}.".encode(), hashlib.sha256)
        left, place = int(self.headers["Content-Length"]), os.path.join(FOLDER, f".{self.client_address[1]}")
        with open(place, "wb") as file:
            while chunk := self.rfile.read(min(left, 65536)):
                mac.update(chunk)
                left -= file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        signature = "v1," + base64.b64encode(mac.digest()).decode()
        is_signed = any(hmac.compare_digest(signature, one) for one in (self.headers["Webhook-Signature"] or "").split())
        if left == 0 and is_signed and id.isalnum() and abs(time.time() - int(moment)) < 300:
            os.replace(place, os.path.join(FOLDER, f"{id}.eml"))  # the same id is the same message: once more changes nothing
            self.send_response(204)
        else:
            os.unlink(place)
            self.send_response(403)
        self.end_headers()


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Receiver)
    print(server.server_port, flush=True)
    server.serve_forever()
