;; Writes 1 MiB to standard output at once, without asking how much may be written.
(component
  (import "wasi:io/error@0.2.0" (instance $err (export "error" (type (sub resource)))))
  (alias export $err "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $e0))
    (export "error" (type $e (eq $e0)))
    (export "output-stream" (type $os (sub resource)))
    (type $se (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $se2 (eq $se)))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $os)) (param "contents" (list u8)) (result (result (error $se2)))))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $o0))
    (export "output-stream" (type $o (eq $o0)))
    (export "get-stdout" (func (result (own $o))))))
  (core module $libc (memory (export "memory") 20))
  (core instance $libc (instantiate $libc))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory (core memory $libc "memory"))))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core module $main
    (import "h" "write" (func $write (param i32 i32 i32 i32)))
    (import "h" "get" (func $get (result i32)))
    (func (export "run") (result i32)
      (call $write (call $get) (i32.const 65536) (i32.const 1048576) (i32.const 0))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "h" (instance (export "write" (func $write)) (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $r (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $r)))
