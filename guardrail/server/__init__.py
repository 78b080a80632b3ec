"""The proxy: OpenAI's wire outside, the engine inside."""
