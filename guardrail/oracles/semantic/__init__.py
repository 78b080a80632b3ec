"""Whether answers keep one meaning: by embeddings, by entailment or by a judge."""
