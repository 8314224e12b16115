"""The hand that breaks its host when asked by HTTP: signals, and cuts of the network.

GET /process/UNIT is the main process; POST /signal/PID/NAME; POST /cut/SECONDS cuts the host off all
others for so long; GET /ends/UNIT/SINCE are the statuses with which a unit's processes exited."""

import http.server
import os
import re
import signal
import subprocess
import sys
import threading

CUT = """table inet hand {
  chain in { type filter hook input priority -300; iifname "eth1" drop; }
  chain out { type filter hook output priority -300; oifname "eth1" drop; }
}
"""
GRACE_SECONDS = 0.05
"""For the answer to leave before the network goes."""


def run(*words, text=None):
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout


def process(unit):
    return run("systemctl", "show", "--property=MainPID", "--value", unit).strip()


def send_signal(pid, name):
    os.kill(int(pid), signal.Signals[f"SIG{name}"])
    return ""


def cut(seconds):
    def end():
        run("nft", "delete", "table", "inet", "hand")

    def begin():
        run("nft", "-f", "-", text=CUT)
        threading.Timer(float(seconds), end).start()

    threading.Timer(GRACE_SECONDS, begin).start()
    return ""


def ends(unit, since):
    text = run("journalctl", "-u", unit, "--since", f"@{since}", "-o", "cat")
    return " ".join(re.findall(r"code=exited, status=([0-9]+)", text))


DEEDS = {"process": process, "signal": send_signal, "cut": cut, "ends": ends}


class Hand(http.server.BaseHTTPRequestHandler):
    def answer(self):
        deed, *arguments = self.path.strip("/").split("/")
        try:
            status, text = 200, DEEDS[deed](*arguments)
        except (KeyError, OSError, TypeError, ValueError, subprocess.CalledProcessError) as error:
            status, text = 400, repr(error)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        """Says nothing."""


http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Hand).serve_forever()
