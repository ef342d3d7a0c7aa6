;; Its data lies far outside its memory: building an instance must fail, with nothing written.
(module
  (memory (export "memory") 1)
  (data (i32.const 0x7fffffff) "far outside")
  (data (i32.const 0xfffffff0) "over the end of the address space")
  (func (export "_start")))
