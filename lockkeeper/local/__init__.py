"""Real servers without Docker, from wheels: PostgreSQL, S3, and Prefect with a worker.

For the demo, for tests and for scratch work. They listen on 127.0.0.1 only.
"""
