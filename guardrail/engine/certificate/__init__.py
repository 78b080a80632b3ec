"""What a decision proved: the certificate, its JSON, its verification, and how it is made."""
