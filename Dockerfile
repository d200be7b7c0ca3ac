# A worker of the work pool "lockkeeper". Untested: the machines that Lockkeeper is developed on have no
# Docker. Everything in it but the base image is what `make setup` and `make test` run every day.
#
#   docker build -t lockkeeper-worker .
#   docker run -e PREFECT_API_URL=http://prefect.example:4200/api lockkeeper-worker
#
# Deploy with LOCKKEEPER_REPOSITORY=/srv/lockkeeper, so that the runs look for the flows in this folder. Your
# Alembic project comes in as a volume, or in an image built FROM this one.
FROM python:3.12-slim-bookworm

WORKDIR /srv/lockkeeper
COPY requirements.lock pyproject.toml README.md LICENSE Makefile ./
COPY .ci/install .ci/install
COPY lockkeeper lockkeeper
# pg_dump and pg_restore 16 and 18 come with the lock; other versions: apt-get install postgresql-client-NN.
RUN python -m venv .venv && PYTHON=.venv/bin/python LOCK=requirements.lock ./.ci/install \
    && rm -rf ~/.cache && useradd --create-home lockkeeper
COPY tasks tasks
COPY flows flows
COPY prefect.yaml .

USER lockkeeper
ENV PATH=/srv/lockkeeper/.venv/bin:$PATH PYTHONUNBUFFERED=1
# exec form: the worker is process 1 and gets SIGTERM itself. Give it time: a run that is killed in the middle
# is recovered, but only after somebody has looked (docker stop --time 600).
ENTRYPOINT ["prefect", "worker", "start", "--pool", "lockkeeper", "--type", "process"]
