//! The `vestibule` binary: everything is in the library.

use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Memory is zeroed when it is given back: what a codec has seen of a card is in no core dump, whatever a library copied.
#[global_allocator]
static MEMORY: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    vestibule::cli::main()
}
