# The service on the CPU. docker build -t srn . ; docker run -p 8000:8000 -e SRN_TOKEN=secret srn
# Not built where it was written: there was no Docker. Its commands were run by hand, with Python 3.12.
FROM python:3.12-slim

RUN useradd --create-home --shell /usr/sbin/nologin srn
COPY . /source
# The pins are those that the tests pass with.
RUN pip install --no-cache-dir --constraint /source/constraints.txt '/source[serve]' && rm -rf /source
USER srn
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8000/health'), timeout=5)"
# Without SRN_TOKEN it refuses to start; --public serves without one.
ENTRYPOINT ["srn", "serve", "--host", "0.0.0.0"]
