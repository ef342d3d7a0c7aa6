;; Asks for a memory of 4 GiB from the start, the most there can be.
(module
  (memory (export "memory") 65536)
  (func (export "_start")
    ;; Touches the last page, so that a host that let the memory through shows it.
    (i32.store (i32.const 0xfffffffc) (i32.const 1))))
