"""The proxy: OpenAI's and Anthropic's wires outside, the engine inside."""
