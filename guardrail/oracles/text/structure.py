def plain_words(text: str) -> str:
    return text
