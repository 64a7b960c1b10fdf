"""Small files of each format that has an adapter, made by its own library."""

import importlib.util
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import pardata
from pardata.data.registry import file_array

SHAPE, CHUNKS, SHARDS = (50, 6, 4), (7, 4, 4), (14, 8, 4)  # chunks do not end where the array does


@dataclass(frozen=True)
class Kind:
    """A format, with options of its library for a new array."""

    name: str
    library: str
    ending: str
    options: dict[str, Any]
    is_written: ClassVar[bool] = True  # an array that is there
    dtype: ClassVar[str] = "f4"

    def __str__(self):
        return self.name

    def save(self, path, values, **options):
        """Return an array with these values, opened for reading."""
        made = self.create(path, values.shape, values.dtype, **options)
        made[...] = values
        self.close(made)
        return self.read(path)

    def values(self, shape=SHAPE):
        """Return values that such an array can hold."""
        return values_of(shape, self.dtype)

    def holds(self, shape, dtype):
        """Return whether the format has such arrays."""
        return True

    def close(self, array):
        """Have everything written."""


class ZarrKind(Kind):
    """Arrays in folders."""

    def create(self, path, shape=SHAPE, dtype="f4", **options):
        """Return a new array at a path, open for writing."""
        import zarr

        return zarr.create_array(str(path), shape=shape, dtype=dtype, **{**self.options, **options})

    def read(self, path):
        """Return the array at a path, opened for reading by its library."""
        import zarr

        return zarr.open_array(str(path), mode="r")


class HDF5Kind(Kind):
    """Datasets."""

    def create(self, path, shape=SHAPE, dtype="f4", **options):
        import h5py

        return h5py.File(path, "w").create_dataset("data", shape, dtype, **{**self.options, **options})

    def read(self, path):
        import h5py

        return h5py.File(path, "r")["data"]

    def close(self, array):
        array.file.close()


class Blosc2Kind(Kind):
    """Arrays in files."""

    def create(self, path, shape=SHAPE, dtype="f4", **options):
        import blosc2

        return blosc2.zeros(shape, dtype=np.dtype(dtype), urlpath=str(path), mode="w", **{**self.options, **options})

    def read(self, path):
        return pardata.open(path)


class TensorStoreKind(Kind):
    """Arrays that TensorStore writes in the format of Zarr."""

    def create(self, path, shape=SHAPE, dtype="f4", chunks=CHUNKS, **options):
        import tensorstore as ts

        return ts.open(
            self.spec(path),
            create=True,
            dtype=np.dtype(dtype).newbyteorder("="),
            shape=shape,
            chunk_layout=ts.ChunkLayout(chunk_shape=chunks),
        ).result()

    def read(self, path):
        import tensorstore as ts

        return ts.open(self.spec(path), read=True).result()

    def spec(self, path):
        """Return what says where it is."""
        return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}

    def holds(self, shape, dtype):
        return np.dtype(dtype).kind in "iufb"


class TiffKind(Kind):
    """Series; of a file that was closed, as pardata opens it for itself."""

    is_written = False

    def save(self, path, values, **options):
        import tifffile

        options |= {"photometric": "minisblack", "metadata": {"axes": "TYX"[-values.ndim :]}}
        tifffile.imwrite(path, values, **self.options, **options)
        return self.read(path)

    def read(self, path):
        import tifffile

        with tifffile.TiffFile(path) as file:
            return file.series[0]

    def holds(self, shape, dtype):
        return len(shape) > 1 and bool(np.prod(shape)) and np.dtype(dtype).kind in "iuf"


class FitsKind(Kind):
    """Images; the file stays open as long as they are there."""

    is_written = False

    def save(self, path, values, **options):
        from astropy.io import fits

        self.make(fits, values).writeto(path)
        return self.read(path)

    def make(self, fits, values):
        """Return the HDU of values: an image, which may be scaled or compressed."""
        if "tile_shape" in self.options:
            return fits.CompImageHDU(values, compression_type="GZIP_1", quantize_level=0)
        hdu = fits.PrimaryHDU(values.copy())  # which is scaled in place
        if "bscale" in self.options and values.dtype.kind == "f":
            hdu.scale("int16", **self.options)
        return hdu

    def read(self, path):
        from astropy.io import fits

        with fits.open(path) as file:
            return file[-1]

    def holds(self, shape, dtype):
        return (
            bool(np.prod(shape)) and np.dtype(dtype).kind in "iuf" and ("bscale" not in self.options or dtype != ">f8")
        )


class NiftiKind(Kind):
    """Proxies of volumes."""

    is_written = False

    def save(self, path, values, **options):
        import nibabel

        nibabel.Nifti1Image(values, np.eye(4), dtype=values.dtype).to_filename(path)
        return self.read(path)

    def read(self, path):
        return pardata.open(path)

    def holds(self, shape, dtype):
        return bool(np.prod(shape)) and np.dtype(dtype).kind in "iuf"


class NetCDFKind(Kind):
    """DataArrays whose values are in a file."""

    is_written = False

    def save(self, path, values, **options):
        import xarray

        if self.options:
            options = {"chunksizes": tuple(map(min, CHUNKS, values.shape)), "zlib": True}
        array = xarray.DataArray(values, name="data")
        array.to_netcdf(path, engine="netcdf4", encoding={"data": options})
        return self.read(path)

    def read(self, path):
        return pardata.open(path)

    def holds(self, shape, dtype):
        return bool(np.prod(shape)) and np.dtype(dtype).kind in "iuf"


class VideoKind(Kind):
    """Videos without loss, of frames in gray; a key frame begins every chunk."""

    is_written = False
    dtype = "u2"

    def save(self, path, values, **options):
        import av

        with av.open(str(path), "w") as file:
            stream = file.add_stream("ffv1", rate=25, width=values.shape[2], height=values.shape[1], pix_fmt="gray16le")
            stream.codec_context.gop_size = CHUNKS[0]
            for frame in values:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
            file.mux(stream.encode())
        return self.read(path)

    def read(self, path):
        import av

        return av.open(str(path)).streams.video[0]

    def holds(self, shape, dtype):
        return False


class DicomKind(Kind):
    """Folders of files, of an image each; the first one has the last name."""

    is_written = False
    dtype = "u2"

    def save(self, path, values, **options):
        path.mkdir()
        for number, image in enumerate(values):
            save_dicom(path / f"{len(values) - number:03}.dcm", image, number)
        return self.read(path)

    def read(self, path):
        return pardata.open(path)

    def holds(self, shape, dtype):
        return False


def save_dicom(file, image, number, **tags):
    """Write an image of uint16, `number` mm above the first one."""
    import pydicom

    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number + 1}"
    made.SeriesInstanceUID = "1.2.3"
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    made.Rows, made.Columns = image.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelData = np.ascontiguousarray(image, "<u2").tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    made.save_as(file, enforce_file_format=True)


KINDS = [
    ZarrKind("zarr", "zarr", ".zarr", {"chunks": CHUNKS}),
    ZarrKind("zarr 2", "zarr", ".zarr", {"chunks": CHUNKS, "zarr_format": 2}),
    ZarrKind("zarr shards", "zarr", ".zarr", {"chunks": CHUNKS, "shards": SHARDS}),
    HDF5Kind("hdf5", "h5py", ".h5", {"chunks": CHUNKS}),
    HDF5Kind("hdf5 gzip", "h5py", ".h5", {"chunks": CHUNKS, "compression": "gzip", "shuffle": True}),
    HDF5Kind("hdf5 contiguous", "h5py", ".h5", {}),
    Blosc2Kind("blosc2", "blosc2", ".b2nd", {"chunks": CHUNKS}),
    TensorStoreKind("tensorstore", "tensorstore", ".zarr", {"chunks": CHUNKS}),
    TiffKind("tiff", "tifffile", ".tif", {}),
    TiffKind("tiff deflate", "tifffile", ".tif", {"compression": "zlib", "byteorder": ">", "rowsperstrip": 4}),
    TiffKind("tiff ome", "tifffile", ".ome.tif", {"compression": "zlib"}),
    FitsKind("fits", "astropy", ".fits", {}),
    FitsKind("fits scaled", "astropy", ".fits", {"bscale": 0.5, "bzero": 10}),
    FitsKind("fits tiles", "astropy", ".fits", {"tile_shape": (1, 6, 4)}),
    NiftiKind("nifti", "nibabel", ".nii", {}),
    NiftiKind("nifti gzip", "nibabel", ".nii.gz", {}),
    NetCDFKind("netcdf", "netCDF4", ".nc", {}),
    NetCDFKind("netcdf chunks", "netCDF4", ".nc", {"zlib": True}),
    DicomKind("dicom", "pydicom", "", {}),
    VideoKind("video", "av", ".mkv", {}),
]


def each_kind(*, library=None, is_written=False):
    """Return the parameters of a test over the formats whose library is installed; `is_written`: over those only."""
    return [
        pytest.param(kind, id=kind.name, marks=pytest.mark.skipif(not is_there(kind.library), reason="not installed"))
        for kind in KINDS
        if library in (None, kind.library) and kind.is_written >= is_written
    ]


def is_there(library):
    return importlib.util.find_spec(library) is not None


def read_all(path, key=None):
    """Return the values of the only array in a file."""
    return file_array(pardata.open(path, key=key))[...]


def values_of(shape=SHAPE, dtype="f4"):
    """Return values that tell where they are."""
    return np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


LIBRARIES = {".zarr": "zarr", ".h5": "h5py", ".tif": "tifffile", ".b2nd": "blosc2"}  # by the endings of new files


def warm_up():
    """Start what the libraries start once in a process: zarr a thread with an event loop."""
    if is_there("zarr"):
        import zarr

        zarr.create_array(zarr.storage.MemoryStore(), shape=(1,), dtype="f4")
