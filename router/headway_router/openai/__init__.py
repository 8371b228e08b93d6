"""Bodies of the OpenAI and Anthropic APIs: what routing needs of them, and errors in their form."""
