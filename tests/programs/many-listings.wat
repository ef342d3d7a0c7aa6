;; Opens a listing of its last folder again and again and reads none of them.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $fs
     (export "descriptor" (type $d (sub resource)))
     (export "directory-entry-stream" (type $des (sub resource)))
     (type $ec (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
     (export "error-code" (type $ece (eq $ec)))
     (export "[method]descriptor.read-directory" (func (param "self" (borrow $d)) (result (result (own $des) (error $ece)))))
  ))
  (alias export $fs "descriptor" (type $dd))
  (import "wasi:filesystem/preopens@0.2.0" (instance $pre (alias outer 1 $dd (type $o0)) (export "descriptor" (type $o (eq $o0))) (export "get-directories" (func (result (list (tuple (own $o) string)))))))
  (core module $libc (memory (export "memory") 2) (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536))
  (core instance $libc (instantiate $libc))
  (core func $rd (canon lower (func $fs "[method]descriptor.read-directory") (memory (core memory $libc "memory"))))
  (core func $get (canon lower (func $pre "get-directories") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "h" "rd" (func $rd (param i32 i32)))
    (import "h" "get" (func $get (param i32)))
    (func (export "run") (result i32) (local $d i32)
      (call $get (i32.const 0))
      ;; Every list and string lands at 65536. Handles are counted from 1; there are two folders.
      (local.set $d (i32.const 2))
      (loop $l
        (call $rd (local.get $d) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then unreachable))
        (br $l))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "h" (instance (export "rd" (func $rd)) (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $r (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $r))
)
