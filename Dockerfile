# The command line as a container image. docs/how-to/containers.md shows how to run it.
#
#   docker build -t cekat .
#   docker build -t cekat --build-arg EXTRAS=cli,parquet .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=cli,targets,uvloop
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY cekat_async cekat_async
# The bytecode is compiled here, because a read-only root has no place for it later.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/cekat \
    && pip --python /opt/cekat install --no-cache-dir --no-compile ".[${EXTRAS}]" \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/cekat

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="cekat" \
      org.opencontainers.image.description="Exports the conversations of a Cekat account" \
      org.opencontainers.image.licenses="MIT"
# The base image has no bytecode of the standard library, which a start would have to compile.
RUN python -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib/python3.* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /data \
       --shell /usr/sbin/nologin cekat \
    && install -d -m 0700 -o cekat -g cekat /data
COPY --from=build /opt/cekat /opt/cekat
# The one writable folder is also the place of temporary files: /tmp may be missing or read-only.
ENV PATH=/opt/cekat/bin:$PATH \
    HOME=/data \
    TMPDIR=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
# Without a shell, so that cekat itself is process 1 and gets SIGTERM.
ENTRYPOINT ["cekat"]
CMD ["--help"]
