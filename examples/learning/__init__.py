"""Training from scratch in integers: what each rule reaches on MNIST, Fashion-MNIST and ECG."""
