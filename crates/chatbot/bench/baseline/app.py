"""The keyword chatbot that SmartBot replaces: Flask behind gunicorn, one worker with four threads."""

from flask import Flask, jsonify, request

from chatbot.engine import ChatbotEngine

app = Flask(__name__)
engine = ChatbotEngine()


@app.get("/health")
def health():
    return jsonify(status="healthy")


@app.post("/chat")
def chat():
    body = request.get_json(silent=True) or {}
    message = str(body.get("message", "")).strip()
    if not message:
        return jsonify(error="message is required"), 400
    return jsonify(response=engine.reply(message))
