"""The official OpenAI client for Python against the real smartbot: python -m unittest, SMARTBOT names the program."""

import asyncio
import hashlib
import json
import os
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai

QUESTION = [{"role": "user", "content": "How do I reset my password?"}]
# Close to some entries, answered by none: a language model's turn.
UNANSWERED = [{"role": "user", "content": "Can an invoice be sent to our tax office in Osaka by fax?"}]


class Model(BaseHTTPRequestHandler):
    """A language model behind smartbot; told so, it breaks off in the middle."""

    protocol_version = "HTTP/1.1"
    breaks_off = False

    def do_GET(self):
        self.answer(b"{}", "application/json")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        events = [
            {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in ("By ", "e-mail.")
        ]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
        if Model.breaks_off:
            events = events[:1]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self.answer(body.encode(), "text/event-stream")

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
        threading.Thread(target=cls.model.serve_forever, daemon=True).start()
        tenants = os.path.join(cls.directory.name, "tenants.json")
        key = {"id": "key_1", "kind": "secret", "scopes": ["chat"]}
        key["sha256"] = hashlib.sha256(b"sb_live_test").hexdigest()
        tenant = {"id": "acme", "name": "Acme", "keys": [key], "model": {"chain": ["openai:small"]}}
        with open(tenants, "w", encoding="utf-8") as file:
            json.dump({"schema": 1, "tenants": [tenant]}, file)
        variables = {
            "LISTEN": "127.0.0.1:0",
            "DRAIN_DELAY_SECONDS": "0",
            "CONVERSATIONS_DIR": cls.directory.name,
            "TENANTS_FILE": tenants,
            "MODELS": "openai:small",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{cls.model.server_port}/v1",
        }
        cls.server = subprocess.Popen([os.environ["SMARTBOT"]], env=variables, stdout=subprocess.PIPE, text=True)
        for line in cls.server.stdout:
            entry = json.loads(line)
            if entry["message"] == "listening":
                cls.base = f"http://{entry['address']}/v1"
                break
        threading.Thread(target=cls.server.stdout.read, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait(timeout=20)
        cls.server.stdout.close()
        cls.model.shutdown()
        cls.model.server_close()
        cls.directory.cleanup()

    def setUp(self):
        Model.breaks_off = False
        self.client = openai.OpenAI(base_url=self.base, api_key="sb_live_test", max_retries=0)
        self.addCleanup(self.client.close)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["smartbot"])
        self.assertEqual(self.client.models.retrieve("smartbot").owned_by, "acme")

    def test_an_answer_from_the_knowledge(self):
        reply = self.client.chat.completions.create(model="smartbot", messages=QUESTION)
        self.assertEqual(reply.choices[0].finish_reason, "stop")
        self.assertIn("password", reply.choices[0].message.content)
        self.assertEqual(reply.usage.total_tokens, 0)
        self.assertEqual(reply.smartbot["citations"][0]["id"], "password-reset")

    def test_a_request_that_is_sent_twice(self):
        def create(key):
            headers = {"Idempotency-Key": key}
            return self.client.chat.completions.create(model="smartbot", messages=QUESTION, extra_headers=headers)

        first = create("order-7")
        self.assertEqual(create("order-7"), first)
        self.assertNotEqual(create("order-8").id, first.id)

    def test_an_answer_from_a_model(self):
        reply = self.client.chat.completions.create(model="smartbot", messages=UNANSWERED, temperature=0.2)
        self.assertEqual(reply.choices[0].message.content, "By e-mail.")
        self.assertEqual((reply.usage.prompt_tokens, reply.usage.completion_tokens), (5, 2))

    def test_a_stream(self):
        for messages, expected in ((QUESTION, "password"), (UNANSWERED, "By e-mail.")):
            chunks = list(
                self.client.chat.completions.create(
                    model="smartbot", messages=messages, stream=True, stream_options={"include_usage": True}
                )
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            self.assertIn(expected, text)
            self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
            self.assertEqual(chunks[-2].choices[0].finish_reason, "stop")
            self.assertIsNotNone(chunks[-1].usage)

    def test_the_accumulating_stream(self):
        with self.client.chat.completions.stream(model="smartbot", messages=UNANSWERED) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.delta", kinds)
        self.assertEqual(final.choices[0].message.content, "By e-mail.")

    def test_an_asynchronous_stream(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=self.base, api_key="sb_live_test") as client:
                stream = await client.chat.completions.create(model="smartbot", messages=UNANSWERED, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        self.assertEqual(asyncio.run(ask()), "By e-mail.")

    def test_a_stream_that_breaks_off(self):
        Model.breaks_off = True
        heard = []
        with self.assertRaises(openai.APIError) as raised:
            for chunk in self.client.chat.completions.create(model="smartbot", messages=UNANSWERED, stream=True):
                heard.append(chunk.choices[0].delta.content or "")
        self.assertEqual("".join(heard), "By ")
        self.assertEqual(raised.exception.code, "reply_failed")

    def test_errors(self):
        def create(client=self.client, **changes):
            return client.chat.completions.create(**{"model": "smartbot", "messages": QUESTION, **changes})

        stranger = openai.OpenAI(base_url=self.base, api_key="sb_live_wrong", max_retries=0)
        self.addCleanup(stranger.close)
        for error, code, call in (
            (openai.NotFoundError, "model_not_found", lambda: create(model="gpt-4o")),
            (openai.NotFoundError, "model_not_found", lambda: self.client.models.retrieve("gpt-4o")),
            (openai.UnprocessableEntityError, "invalid_request", lambda: create(messages=[])),
            (openai.UnprocessableEntityError, "unsupported_parameter", lambda: create(n=2)),
            (openai.AuthenticationError, "unauthorized", lambda: create(client=stranger)),
        ):
            with self.assertRaises(error) as raised:
                call()
            self.assertEqual(raised.exception.code, code)
            self.assertTrue(raised.exception.request_id)


if __name__ == "__main__":
    unittest.main()
