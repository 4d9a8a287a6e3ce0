module front

go 1.26.0
