# The two environments of docs/installation.md, each in an image. Unless told what to run, both evaluate
# the bundled sample:
#   docker build -t r2plus1d .
#   docker run --rm r2plus1d
#   docker build --target modern -t r2plus1d:modern .
#   docker run --rm --gpus all -e GPUS=0 r2plus1d:modern
# Any user can read the code, and nothing but output/ is written, temporary files included: so --user
# and --read-only work.

# PyTorch 2 for the GPUs of today. --build-arg R2PLUS1D_TORCH=cpu leaves CUDA out, which is most of it.
FROM python:3.13-slim-trixie AS modern
ARG R2PLUS1D_TORCH=cuda

# The toolkit hands in no CUDA driver library unless asked to; without --gpus this changes nothing
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    R2PLUS1D_ENV=modern \
    SAMPLE=/r2plus1d/output/sample

RUN useradd --create-home r2plus1d \
    && install -d -o r2plus1d -g r2plus1d /r2plus1d \
    && install -d -o r2plus1d -g r2plus1d -m 1777 /r2plus1d/output
USER r2plus1d
WORKDIR /r2plus1d

# First no more than setup.sh reads: the large layer that it makes outlives every change to the rest.
# The package is installed in editable mode, so what is copied after belongs to it.
COPY --chown=r2plus1d:r2plus1d requirements-modern.txt setup.py setup.cfg ./
COPY --chown=r2plus1d:r2plus1d scripts/setup.sh scripts/
COPY --chown=r2plus1d:r2plus1d scripts/environment/ scripts/environment/
COPY --chown=r2plus1d:r2plus1d lib/r2plus1d/__init__.py lib/r2plus1d/
# Triton, 0.9 GB, is for train_net.py --compile=1 alone, which says that it is missing
RUN PIP_NO_CACHE_DIR=1 sh scripts/setup.sh modern \
    && .venv-modern/bin/python -m pip uninstall --yes triton \
    && rm -r .venv-modern/lib/python3.13/site-packages/torch/include
ENV PATH=/r2plus1d/.venv-modern/bin:$PATH TMPDIR=/r2plus1d/output

COPY --chown=r2plus1d:r2plus1d . .
# The checkout may have been private. Without .venv-modern, which is readable: a new mode is a new copy
RUN chmod -R a+rX -- * && python -m compileall -q lib
CMD ["sh", "scripts/test_r2plus1d_kinetics.sh"]


# Caffe2, which is the reference; the last stage, so the one that is built unless told otherwise.
# GPUs: the wheel of PyTorch 1.10.2 brings CUDA 10.2, which serves compute capability 3.7 to 7.5, Kepler's
# K80 (2014) to Turing (2018), under a driver of 440 or later and the NVIDIA Container Toolkit.
# Later GPUs run none of its kernels; there the image is for the CPU.
FROM python:3.9-slim-bookworm AS caffe2

ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    R2PLUS1D_ENV=caffe2 \
    SAMPLE=/r2plus1d/output/sample

RUN useradd --create-home r2plus1d \
    && install -d -o r2plus1d -g r2plus1d /r2plus1d \
    && install -d -o r2plus1d -g r2plus1d -m 1777 /r2plus1d/output
USER r2plus1d
WORKDIR /r2plus1d

COPY --chown=r2plus1d:r2plus1d requirements.txt setup.py setup.cfg ./
COPY --chown=r2plus1d:r2plus1d scripts/setup.sh scripts/
COPY --chown=r2plus1d:r2plus1d scripts/environment/ scripts/environment/
COPY --chown=r2plus1d:r2plus1d lib/r2plus1d/__init__.py lib/r2plus1d/
RUN PIP_NO_CACHE_DIR=1 sh scripts/setup.sh caffe2 \
    && rm -r .venv/lib/python3.9/site-packages/torch/include
ENV PATH=/r2plus1d/.venv/bin:$PATH TMPDIR=/r2plus1d/output

COPY --chown=r2plus1d:r2plus1d . .
RUN chmod -R a+rX -- * && python -m compileall -q lib
CMD ["sh", "scripts/test_r2plus1d_kinetics.sh"]
