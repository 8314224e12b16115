"""A registry on loopback with the image of one archive that image.py has made: FILE PORT."""

import hashlib
import http.server
import json
import sys
import tarfile

KIND = "application/vnd.oci.image"


def main():
    with tarfile.open(sys.argv[1]) as archive:
        parts = {name: archive.extractfile(name).read() for name in archive.getnames()}
    config, layer = parts[json.loads(parts["manifest.json"])[0]["Config"]], parts["layer.tar"]
    blobs = {f"sha256:{hashlib.sha256(blob).hexdigest()}": blob for blob in (config, layer)}
    (config_name, layer_name) = blobs
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{KIND}.manifest.v1+json",
        "config": {"mediaType": f"{KIND}.config.v1+json", "digest": config_name, "size": len(config)},
        "layers": [{"mediaType": f"{KIND}.layer.v1.tar", "digest": layer_name, "size": len(layer)}],
    }).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            kind, body = "application/octet-stream", blobs.get(self.path.rsplit("/", 1)[-1])
            if "/manifests/" in self.path:
                kind, body = f"{KIND}.manifest.v1+json", manifest
            elif self.path == "/v2/":
                body = b"{}"
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()
