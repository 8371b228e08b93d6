# The router: headway with the extra `router`.  From the root of the repository:
#   docker build -f images/router.Dockerfile -t headway-router .
# Pin the base further, to a digest: --build-arg BASE=docker.io/library/python:3.11.14-slim-bookworm@sha256:...
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=router
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cli cli
COPY crds crds
COPY operator operator
COPY proto proto
COPY router router
COPY sim sim
RUN python -m venv /opt/headway \
 && /opt/headway/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
COPY --from=build /opt/headway /opt/headway
ENV PATH=/opt/headway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 9002 9003 9090
ENTRYPOINT ["headway"]
CMD ["router"]
