"""The finished model: written, checked, used, exported and packed.

Importing this package loads neither TensorFlow nor onnxruntime: `burnish.bundle.model` and
`burnish.bundle.export` do, when they are imported.
"""

from burnish.bundle.contract import FORMAT, read_contract
from burnish.bundle.write import BundleFacts, write_bundle
from burnish.files import hash_file

__all__ = ["FORMAT", "BundleFacts", "hash_file", "read_contract", "write_bundle"]
