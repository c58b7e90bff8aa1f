# The set-up of docs/installation.md in an image. Unless told what to run, it evaluates the
# bundled sample:
#   docker build -t r2plus1d .
#   docker run --rm r2plus1d
#   docker run --rm --gpus all -e GPUS=0 r2plus1d
# GPUs: the wheel of PyTorch 1.10.2 brings CUDA 10.2, which serves compute capability 3.7 to 7.5, Kepler's
# K80 (2014) to Turing (2018), under a driver of 440 or later and the NVIDIA Container Toolkit.
# Later GPUs run none of its kernels; there the image is for the CPU.
FROM python:3.9-slim-bookworm

# The toolkit hands in no CUDA driver library unless asked to; without --gpus this changes nothing
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home r2plus1d && install -d -o r2plus1d -g r2plus1d /r2plus1d
USER r2plus1d
WORKDIR /r2plus1d

# First no more than setup.sh reads: the 2 GB layer that it makes outlives every change to the rest.
# The package is installed in editable mode, so what is copied after belongs to it.
COPY --chown=r2plus1d:r2plus1d requirements.txt setup.py setup.cfg ./
COPY --chown=r2plus1d:r2plus1d scripts/setup.sh scripts/
COPY --chown=r2plus1d:r2plus1d lib/r2plus1d/__init__.py lib/r2plus1d/
RUN PIP_NO_CACHE_DIR=1 sh scripts/setup.sh
ENV PATH=/r2plus1d/.venv/bin:$PATH

COPY --chown=r2plus1d:r2plus1d . .
CMD ["sh", "scripts/test_r2plus1d_kinetics.sh"]
