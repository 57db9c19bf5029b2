"""The IVOA standards as pure values and functions: no input or output, no database, no HTTP."""
