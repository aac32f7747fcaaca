# One image for web, worker and beat; docker-compose.yml says which is which.
FROM python:3.13-slim AS build
WORKDIR /srv/secguard
RUN python -m venv /opt/venv
COPY requirements.lock ./
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md manage.py ./
COPY secguard secguard
COPY templates templates
COPY static static
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && SECGUARD_STATIC_DIR=/srv/static SECGUARD_DATA_DIR=/tmp/build /opt/venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
 && rm -rf /tmp/build

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/secguard --create-home secguard
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
WORKDIR /srv/secguard
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 \
    SECGUARD_DATA_DIR=/var/lib/secguard SECGUARD_STATIC_DIR=/srv/static SECGUARD_LOG_FORMAT=json
USER 10001
EXPOSE 8000
CMD ["gunicorn", "secguard.wsgi:application", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--workers", "2", "--threads", "8", "--timeout", "120", "--graceful-timeout", "30", \
     "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "--log-level", "warning"]
