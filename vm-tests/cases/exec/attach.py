"""Types a word at the terminal of a container and prints what is shown until the word comes back:
attach.py CONTAINER WORD [ROWS COLUMNS]"""

import base64
import http.client
import json
import sys

HOST = ("one", 5051)
container, word, *size = sys.argv[1:]


def record(call):
    text = json.dumps(call).encode()
    return str(len(text)).encode() + b"\n" + text


def attached_input(**parts):
    return record({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": parts})


def control():
    rows, columns = map(int, size)
    info = {"tty_info": {"window_size": {"rows": rows, "columns": columns}}}
    return {"type": "CONTROL", "control": {"type": "TTY_INFO", **info}}


reader = http.client.HTTPConnection(*HOST)
call = {"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": {"value": container}}}
reader.request("POST", "/api/v1", json.dumps(call), {
    "content-type": "application/json", "accept": "application/recordio", "message-accept": "application/json",
})  # fmt: skip
shown = reader.getresponse()
if shown.status != 200:
    sys.exit(shown.read().decode())

said = [attached_input(type="CONTAINER_ID", container_id={"value": container})]
if size:
    said.append(attached_input(type="PROCESS_IO", process_io=control()))
keys = base64.b64encode(f"{word}\n".encode()).decode()
data = {"type": "DATA", "data": {"type": "STDIN", "data": keys}}
said.append(attached_input(type="PROCESS_IO", process_io=data))
writer = http.client.HTTPConnection(*HOST)
writer.request("POST", "/api/v1", b"".join(said), {
    "content-type": "application/recordio", "message-content-type": "application/json",
})  # fmt: skip
answer = writer.getresponse()
if answer.status != 200:
    sys.exit(answer.read().decode())

text, waiting = "", b""
while f"got={word} " not in text or not text.endswith("\n"):
    piece = shown.read1(65536)
    if not piece:
        sys.exit(f"the output has ended after {text!r}")
    waiting += piece
    while b"\n" in waiting:
        length, rest = waiting.split(b"\n", 1)
        if len(rest) < int(length):
            break
        told, waiting = json.loads(rest[: int(length)]), rest[int(length) :]
        if told["type"] == "DATA":
            text += base64.b64decode(told["data"]["data"]).decode()
print(text)
