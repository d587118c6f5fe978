# The service on the CPU. docker build -t srn . ; docker run -p 8000:8000 -e SRN_TOKEN=secret srn
# Built and run on 2026-11-28 with Buildah 1.28 and Podman 4.3, not with Docker. No registry of images was in reach: a Debian 12
# with CPython 3.12.1 stood in for the base. The image is 380 MB larger than its base.
FROM python:3.12-slim

RUN useradd --create-home --shell /usr/sbin/nologin srn
# The pins are those that the tests pass with.
RUN --mount=type=bind,target=/source pip install --no-cache-dir --constraint /source/constraints.txt '/source[serve]'
USER srn
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"
# Without SRN_TOKEN it refuses to start; --public serves without one.
ENTRYPOINT ["srn", "serve", "--host", "0.0.0.0"]
