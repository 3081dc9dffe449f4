//! What is called of Windows, and its last error, which the calls that never wait leave alone.

use core::ffi::c_void;

pub(crate) const INFINITE: u32 = u32::MAX;
pub(crate) const TLS_OUT_OF_INDEXES: u32 = u32::MAX;

windows_link::link!("kernel32.dll" "system" fn FlushProcessWriteBuffers());
windows_link::link!("kernel32.dll" "system" fn GetCurrentThreadId() -> u32);
windows_link::link!("kernel32.dll" "system" fn GetLastError() -> u32);
windows_link::link!("kernel32.dll" "system" fn SetLastError(error: u32));
windows_link::link!("kernel32.dll" "system" fn Sleep(milliseconds: u32));
windows_link::link!("kernel32.dll" "system" fn TlsAlloc() -> u32);
windows_link::link!("kernel32.dll" "system" fn TlsFree(index: u32) -> i32);
windows_link::link!("kernel32.dll" "system" fn TlsGetValue(index: u32) -> *mut c_void);
windows_link::link!("kernel32.dll" "system" fn TlsSetValue(index: u32, value: *const c_void) -> i32);
windows_link::link!("api-ms-win-core-synch-l1-2-0.dll" "system" fn WaitOnAddress(address: *const c_void, compare: *const c_void, size: usize, milliseconds: u32) -> i32);
windows_link::link!("api-ms-win-core-synch-l1-2-0.dll" "system" fn WakeByAddressAll(address: *const c_void));
windows_link::link!("api-ms-win-core-synch-l1-2-0.dll" "system" fn WakeByAddressSingle(address: *const c_void));

/// Calls `f`, and leaves the last error as it was.
pub(crate) fn keep_last_error<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: it has no conditions.
    let before = unsafe { GetLastError() };
    let result = f();
    // SAFETY: as above.
    unsafe { SetLastError(before) };
    result
}
