"""Pictures of requests: links fetched, bytes decoded, memory bounded."""
