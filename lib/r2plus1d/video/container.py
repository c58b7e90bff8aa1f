"""Opening one video file: as a container from a list, and never anything but that file.

FFmpeg also opens texts that name addresses or other files (SDP, HLS, DASH, concat) or that it draws
(tty). Only the containers below are opened here, and FFmpeg reads them through a file object of
this process, so it has no protocol with which to open anything else.
"""

import errno
import io
import math
import os
import pathlib
from typing import Any, BinaryIO, NamedTuple, Union

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from r2plus1d.errors import RecordError
from r2plus1d.results.given_file import NUL_IN_NAME, kind_of, open_at_once

# FFmpeg's names of containers that hold their pictures themselves. Images, playlists, subtitles,
# devices, network protocols and formats that continue in a second file (mlv) are left out.
DEMUXERS = (
    '3dostr,3g2,3gp,4xm,aac,ac3,aiff,anm,ape,apng,argo_brp,asf,asf_o,au,av1,avi,avs,avs2,avs3,'
    'bethsoftvid,bfi,bink,c93,caf,cavsvideo,cdxl,cine,dhav,dirac,dnxhd,dsicin,dv,dxa,ea,'
    'ea_cdata,evc,film_cpk,filmstrip,flac,flic,flv,frm,gdv,gif,gxf,h261,h263,h264,hevc,hnm,'
    'idcin,iff,ifv,ipmovie,ipu,ivf,ivr,jv,kux,live_flv,lmlm4,lvf,lxf,m4a,m4v,matroska,mgsts,mj2,'
    'mjpeg,mjpeg_2000,mm,moflex,mov,mp3,mp4,mpeg,mpegts,mpegtsraw,mpegvideo,msnwctcp,mtv,mv,mvi,'
    'mxf,mxg,nsv,nut,nuv,obu,ogg,paf,pdv,pmp,psxstr,pva,r3d,rl2,rm,roq,rpl,rsd,sdr2,ser,sga,'
    'siff,smjpeg,smk,smush,swf,thp,tiertexseq,tmv,txd,ty,usm,vc1,vc1test,vividas,vivo,vmd,vvc,'
    'w64,wav,wc3movie,webm,wsvqa,wtv,wv,xmv,yop,yuv4mpegpipe'
)

# Given as container_options: with `options`, PyAV writes past its array where streams turn up late.
OPTIONS = {
    'format_whitelist': DEMUXERS,
    'protocol_whitelist': 'none',  # there is none of this name: nothing but `file` is read
}

# Titles in old encodings do no harm. PyAV 19 reads them so without being told.
OLD = int(av.__version__.split('.')[0]) < 19
TITLES: dict[str, Any] = {'metadata_errors': 'replace'} if OLD else {}


class _Seeking:
    """Tells FFmpeg of a place before the beginning as its own files do, by a number."""

    def seek(self, offset, whence=0):
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


class _File(_Seeking, io.FileIO):
    pass


class _Bytes(_Seeking, io.BytesIO):
    pass


class Opened(NamedTuple):
    """A container that is open.

    Attributes:
        container: of PyAV.
        file: what it reads; to be closed after it.
        size: bytes of the file.
    """

    container: InputContainer
    file: BinaryIO
    size: int

    def close(self) -> None:
        self.container.close()
        self.file.close()


def open_container(source: Union[bytes, str, os.PathLike]) -> Opened:
    """Open a video.

    Args:
        source: bytes of an encoded file, or the path of one.

    Raises:
        RecordError: a missing file, one that cannot be read, not a regular file, not a video.
    """
    file, size = _opened_bytes(source) if isinstance(source, bytes) else _opened_path(source)
    try:
        container = av.open(file, 'r', container_options=OPTIONS, **TITLES)
    except MemoryError:
        file.close()
        raise
    except (av.error.FFmpegError, OSError) as error:
        file.close()
        raise RecordError(f'not a video, or truncated ({size} bytes: {error.strerror})') from None
    return Opened(container, file, size)


def _opened_bytes(source):
    return _Bytes(source), len(source)


def _opened_path(source):
    path = pathlib.Path(source)
    try:
        _require_regular(path.stat())  # opening some devices does something
        file = _File(path, opener=open_at_once)
    except RecordError:
        raise
    except FileNotFoundError:
        raise RecordError(_missing(path)) from None
    except ValueError:
        raise RecordError(f'cannot be opened: {NUL_IN_NAME}') from None
    except OSError as error:
        raise RecordError(f'cannot be opened: {error.strerror}') from None
    state = os.fstat(file.fileno())
    try:
        _require_regular(state)  # another file may have taken its place
    except RecordError:
        file.close()
        raise
    return file, state.st_size


def _missing(path):
    if path.is_symlink():
        return f'a link to a missing file, {path.readlink()}'
    return 'missing file' + ('' if path.is_absolute() else f' in {pathlib.Path.cwd()}')


def _require_regular(state):
    kind = kind_of(state.st_mode)
    if kind:
        raise RecordError(f'not a regular file but {kind}')


def video_stream(container: InputContainer, *, max_pixels: float = math.inf) -> VideoStream:
    """Return the first video stream that is not an attached picture, such as a cover.

    Args:
        max_pixels: of one frame.

    Raises:
        RecordError: there is none, or none that FFmpeg decodes within `max_pixels`.
    """
    streams = container.streams.video
    stream = next((s for s in streams if not s.disposition & Disposition.attached_pic), None)
    if stream is None:
        raise RecordError('no video stream' + (', only an attached picture' if streams else ''))
    if stream.codec_context is None:
        raise RecordError('FFmpeg has no decoder for its video stream')
    if not (stream.width and stream.height):
        raise RecordError('its video stream does not say how large its frames are')
    if stream.width * stream.height > max_pixels:
        raise RecordError(
            f'its frames of {stream.width} x {stream.height} have more than {max_pixels:,} pixels'
        )
    return stream
