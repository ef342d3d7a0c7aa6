;; Grows a table without end, then traps when refused.
(module
  (memory (export "memory") 1)
  (table $table (export "table") 1 funcref)
  (func (export "_start")
    (loop $more
      (if (i32.eq (table.grow $table (ref.null func) (i32.const 65536)) (i32.const -1))
        (then unreachable))
      (br $more))))
