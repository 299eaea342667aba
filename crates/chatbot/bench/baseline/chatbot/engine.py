"""Finds the first response one of whose keywords is in the message."""

from chatbot.responses import FALLBACK, RESPONSES


class ChatbotEngine:
    def reply(self, message: str) -> str:
        message = message.lower()
        for keywords, response in RESPONSES:
            if any(keyword in message for keyword in keywords):
                return response
        return FALLBACK
