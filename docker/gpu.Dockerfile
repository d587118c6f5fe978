# The service on an NVIDIA GPU. docker build -f docker/gpu.Dockerfile -t srn-gpu . ; docker run --gpus all -p 8000:8000 -e SRN_TOKEN=secret srn-gpu
# Built on 2026-11-28 with Buildah 1.28, without a GPU and without CUDA: a Debian 13 with Python 3.13 stood in for the base. The
# service then says that CUDA does not start, and ends. On the real base, or on a GPU, nobody has tried it.
FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04

RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --shell /usr/sbin/nologin srn
# onnxruntime-gpu takes the place of onnxruntime: both hold the same module. From 1.27 on it is built for CUDA 13.
RUN --mount=type=bind,target=/source python3 -m venv /opt/srn \
    && /opt/srn/bin/pip install --no-cache-dir --constraint /source/constraints.txt '/source[serve]' \
    && /opt/srn/bin/pip uninstall -y onnxruntime && /opt/srn/bin/pip install --no-cache-dir 'onnxruntime-gpu<1.27'
USER srn
EXPOSE 8000
HEALTHCHECK CMD /opt/srn/bin/python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"
ENTRYPOINT ["/opt/srn/bin/srn", "serve", "--host", "0.0.0.0", "--device", "cuda"]
