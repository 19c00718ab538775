"""Every layout in which cutouts are stored, behind one interface; each is one small module.

To add a format:

1. One module here, with ``recognise(path)``, which returns a clause that says how the format was
   recognised, or None, and ``open_stored(path, overrides)``, which returns something that is a
   `stored.Stored`. `recognise` sees every file that anybody names: it looks at names, shapes and
   first bytes only, unpickles nothing, follows no link out of the file, and may raise whatever it
   likes on damage, which counts as None. What a file claims of its sizes is checked before anything
   of that size is made. Heavy libraries are imported inside functions.
2. One line in `registry.FORMATS`, above those that would claim the same files.
3. A test in ``tests/cutouts/formats``, on a fixture that h5py, numpy, pyarrow or astropy wrote.
4. A row in ``docs/formats.md``: the command, the keys, what is known, what is not.

`stored.PerProcess` keeps a file open and opens it again after a fork; `hdf5_images.Hdf5Images` is
all that most layouts in HDF5 need. Columns have canonical names (``id``, ``ra``, ``dec``, ``z``,
``ebv``, ``psfsize``, ``psfdepth``, ``noise``; the others in lower case), and those that a file
lacks are left out: `reader.Cutouts` fills in row numbers and NaN. What a source holds against its
own rows, or reading has shown, it says as a `stored.KnowsFaults`. Formats of many small files share
`members` and `gathered`.
"""
